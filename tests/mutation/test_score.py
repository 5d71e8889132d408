"""The verb `mutants`: what it counts, what it keeps, how it ends, and that nothing planted ends the run."""

from __future__ import annotations

import dataclasses
import json

import pytest
from msgspec.structs import replace

from attention_harness import store
from attention_harness.cases.matrix import matrix
from attention_harness.commands.main import main
from attention_harness.model import mutation_results
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import EquivalenceResult, Killed, KilledElsewhere, Outcome
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.mutation import power
from attention_harness.mutation.equivalent import EquivalentVariant
from attention_harness.mutation.mutants import Mutant
from attention_harness.mutation.patching import eager
from attention_harness.report.mutation import score_lines
from attention_harness.store.encoding import decode, encode

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float64-plain-ordinary-contiguous"
OTHER = "masked_softmax-B1H1Lq2Lk3-float64-plain-ordinary-contiguous"
ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"


def verdict(name: str, mechanism: str = "cosine") -> Verdict:
    """Return a verdict that accuses."""
    return Verdict(name, mechanism, CASE, "accuracy", Status.FAIL, 3.0, 1.0, (0,), "too far off", "again")


def outcome(name: str, kind: str = "mask", witnesses=("cosine",), unseen=()) -> Outcome:
    """Return an outcome with a witness in each of these mechanisms."""
    return Outcome(name, kind, "", {m: verdict(f"mutant:{name}", m) for m in witnesses}, tuple(unseen), 10)


# --- counting


def test_a_mutant_that_survives_is_told():
    """A change that alters nothing survives, by name, and is never killed."""
    counted = mutation_results.count([outcome("changes nothing", "none", ())], [])
    assert ("changes nothing",) == counted.survived
    assert "SURVIVED changes nothing" in "\n".join(score_lines(counted))
    assert "killed 0 of 1 mutants in 10 checks" in "\n".join(score_lines(counted))
    assert not counted.holds


def test_an_accused_variant_is_told():
    """A equivalent variant that some verdict accuses is named once, however often it is accused."""
    trials = [EquivalenceResult(n, {"backwards": 5, "forwards": 5}, (verdict("variant:backwards"),)) for n in range(2)]
    counted = mutation_results.count([], trials)
    assert (("backwards",), 2, 20) == (counted.accused, counted.variants, counted.checks)
    assert "ACCUSED backwards" in "\n".join(score_lines(counted))
    assert not counted.holds


def test_classes_and_mechanisms_are_counted_apart():
    """Killed in total by class; in a mechanism, of those that show there."""
    counted = mutation_results.count(
        [
            outcome("a", "mask", ("cosine", "additive")),
            outcome("b", "mask", ("additive",), ("cosine",)),
            outcome("c", "scale", ("cosine",)),
        ],
        [],
    )
    assert ({"mask": Killed(2, 2), "scale": Killed(1, 1)}, Killed(3, 3)) == (counted.classes, counted.mutants)
    assert {"additive": Killed(2, 2), "cosine": Killed(2, 3)} == counted.mechanisms
    by_mechanism = {"additive": Killed(2, 2), "cosine": Killed(1, 2)}
    assert {"mask": by_mechanism, "scale": {"cosine": Killed(1, 1)}} == counted.table
    assert (KilledElsewhere("b", "cosine"),) == counted.killed_elsewhere
    assert counted.holds  # it is accused, if not everywhere


def test_nothing_asked_is_no_proof():
    """Without a check nothing holds."""
    assert not mutation_results.count([], []).holds


def test_values_travel():
    """What is kept comes back as it was."""
    tried = outcome("a", "mask", ("cosine",), ("additive",))
    part = EquivalenceResult(3, {"backwards": 5}, (verdict("variant:backwards"),))
    assert tried == decode(encode(tried), Outcome)
    assert part == decode(encode(part), EquivalenceResult)


# --- asking


def mutant(name: str, put: str, stands: str = "# --- what they share") -> Mutant:
    """Return a mutant of one patch."""
    return Mutant(name, "test", ((stands, put),))


def cases():
    """Return some cases that both mechanisms of a test are asked on."""
    return [case for case in matrix("quick") if case.mechanism in ("dot_product", "cosine")][:3]


def test_what_dies_is_killed_and_the_run_goes_on():
    """A crash is a witness on the case that it happened on; the mutants after it are asked."""
    planted = [
        mutant("dies", "    import os\n\n    os._exit(3)\n" + ATTEND, ATTEND),
        mutant("wrong", ATTEND.replace("weights @ value", "2 * weights @ value"), ATTEND),
        mutant("right", ATTEND.replace("weights @ value", "(weights @ value)"), ATTEND),
    ]
    found = mutation_results.ordered(power.measure(planted, cases(), jobs=2), [own.name for own in planted])
    assert [Status.CRASH, Status.FAIL, None] == [tried.witness and tried.witness.status for tried in found]
    assert "its process died: exit status 3" == found[0].witness.reason
    assert found[0].witness.case in [case.id for case in cases()]
    assert "mutants dies --case" in found[0].witness.replay


def test_what_hangs_is_killed():
    """A mutant that does not answer is accused of that, on the first case."""
    [found] = power.measure([mutant("hangs", "    while True:\n        pass\n" + ATTEND, ATTEND)], cases(), seconds=2)
    assert Status.TIMEOUT is found.witness.status
    assert "no answer within 2 s" == found.witness.reason


def test_a_variant_that_is_wrong_is_accused():
    """Every accusation is listed, and what is asked is counted."""
    right = EquivalentVariant("right", ((ATTEND, ATTEND.replace("weights @ value", "(value.mT @ weights.mT).mT")),))
    wrong = dataclasses.replace(
        right, name="wrong", patches=((ATTEND, ATTEND.replace("weights @ value", "weights @ value / 2")),)
    )
    trial = power.ask_variants([right, wrong], 0, [CASE, OTHER])
    assert {"variant:wrong"} == {v.implementation for v in trial.accused}
    assert trial.checks["right"] == trial.checks["wrong"] > len(trial.accused) > 0


def test_a_mutant_is_asked_where_it_reaches():
    """A patch of one mechanism is asked there alone, and what it changes there without being accused is told."""
    kernel = mutant("kernel", "w * 2 * (", "w * (")
    assert 0 == power.ask_mutant(kernel, [CASE]).checks
    nothing = power.ask_mutant(mutant("nothing", "# ---"), [CASE])
    assert ({}, ()) == (nothing.witnesses, nothing.unseen)


def test_a_difference_is_seen_without_a_check():
    """Beyond the error bound, in the output or in the weights; a rounding is none."""
    case = power._case(CASE)
    changed = {
        "weights @ value * (1 + 2e-16)": False,
        "weights @ value * 1.001": True,
        "(weights @ value)[..., :1]": True,
        "1 / 0": True,
    }
    for put, differs in changed.items():
        patches = ((ATTEND, ATTEND.replace("weights @ value", put)),)
        assert differs is power.differs(EquivalentVariant("x", patches).implementation(), eager(), case), put


# --- the command


def test_the_exit_status_and_the_witness(capsys):
    """0 when every mutant is killed, with case, check and reason; 2 for a name that there is not."""
    assert 0 == main(["mutants", "cosine by the L1 norm", "--case", CASE, "--jobs", "1"])
    told = capsys.readouterr().out
    assert f"fail of accuracy on {CASE}: |error|" in told
    assert f"replay: python -m attention_harness mutants 'cosine by the L1 norm' --case {CASE}" in told
    assert "killed 1 of 1 mutants" in told
    assert 2 == main(["mutants", "no such mutant"])
    assert "no mutant or variant 'no such mutant'" in capsys.readouterr().err


def test_a_miss_is_exit_status_1(capsys):
    """A mutant on a case that it does not touch survives."""
    assert 1 == main(["mutants", "mask polarity", "--case", CASE, "--jobs", "1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ({"killed": 0, "of": 1}, ["mask polarity"]) == (told["score"]["mutants"], told["score"]["survived"])
    assert not told["holds"]


NAMES = ("cosine by the L1 norm", "last key dropped", "sum by einsum")


def test_a_resumed_run_is_the_whole_run(tmp_path, capsys):
    """Killed after any task, it goes on to the same outcomes; a torn line is asked again."""
    command = ["mutants", *NAMES, "--case", CASE, "--case", OTHER, "--jobs", "1", "--out"]
    assert 0 == main([*command, str(tmp_path / "whole")])
    whole = store.load(tmp_path / "whole")
    assert (2, 1) == (len(whole.outcomes), len(whole.equivalence))

    assert 0 == main([*command, str(tmp_path / "cut")])
    path = tmp_path / "cut" / "outcomes.jsonl"
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + second[:40])
    (tmp_path / "cut" / "equivalence.jsonl").unlink()
    capsys.readouterr()
    assert 0 == main([*command, str(tmp_path / "cut"), "--resume"])
    assert "dropped 40 bytes of an unfinished last line" in capsys.readouterr().err
    cut = store.load(tmp_path / "cut")
    assert [_timeless(o) for o in whole.outcomes] == [_timeless(o) for o in cut.outcomes]
    assert whole.equivalence == cut.equivalence
    assert cut.facts.finished

    assert 2 == main(["mutants", "last key dropped", "--out", str(tmp_path / "cut"), "--resume"])
    assert "holds another run" in capsys.readouterr().err


def _timeless(tried: Outcome) -> Outcome:
    return replace(tried, witnesses={name: replace(v, seconds=0.0) for name, v in tried.witnesses.items()})


def test_the_report_tells_what_is_killed(tmp_path):
    """The section stands in both formats, with every survivor by name; without a measurement there is none."""
    from attention_harness.report import build, markdown, page

    facts = RunFacts(planned=0, finished="2026-01-01T00:00:00+00:00")
    tried = (outcome("seen", "mask"), outcome("never seen", "scale", ()))
    trials = (EquivalenceResult(0, {"backwards": 1000}, (verdict("variant:backwards"),)),)
    told = build(store.Run(tmp_path, facts, outcomes=tried, equivalence=trials))
    for text in (markdown.render(told), page.render(told)):
        assert "Mutation score" in text
        assert "1 of 2 mutants killed, 1 of 1 equivalent variant accused, over 1,020 checks" in text
        assert "never seen" in text
        assert "backwards" in text
    assert "## Mutation score" not in markdown.render(build(store.Run(tmp_path, facts)))


def test_only_known_names():
    """Mutants and variants share the names; neither hides the other."""
    with pytest.raises(HarnessError, match="no mutant or variant"):
        power.select(["nothing"])
    mutants, variants = power.select([])
    assert not {f.name for f in mutants} & {v.name for v in variants}
