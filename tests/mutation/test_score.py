"""The mutation score: what is score, that no mutant ends the run, and how the verb ends and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.cases.projection import cases_for
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import EquivalenceResult, Killed, KilledElsewhere, Outcome, count, ordered
from attention_harness.model.verdict import Status, Verdict
from attention_harness.mutation import campaign, judging
from attention_harness.mutation.campaign import Campaign, measure, select
from attention_harness.mutation.declared import Suite, narrowed
from attention_harness.mutation.judging import (
    _at_turn,
    _Sorted,
    changes_output,
    judge_mutant,
    judge_variants,
)
from attention_harness.mutation.patched import EquivalentVariant, Mutant, eager
from attention_harness.report.content.mutation import score_lines

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


def test_a_mutant_that_survives_is_named():
    """A change that alters nothing survives, by name, and is never killed."""
    score = count([outcome("changes nothing", "none", ())], [])
    assert ("changes nothing",) == score.survived
    assert "SURVIVED changes nothing" in "\n".join(score_lines(score))
    assert "killed 0 of 1 mutants in 10 checks" in "\n".join(score_lines(score))
    assert not score.holds


def test_an_accused_variant_is_named():
    """An equivalent variant that some verdict accuses is named once, however often it is accused."""
    parts = [EquivalenceResult(n, {"backwards": 5, "forwards": 5}, (verdict("variant:backwards"),)) for n in range(2)]
    score = count([], parts)
    assert (("backwards",), 2, 20) == (score.accused, score.variants, score.checks)
    assert "ACCUSED backwards" in "\n".join(score_lines(score))
    assert not score.holds


def test_classes_and_mechanisms_are_counted_apart():
    """Killed in total by class; in a mechanism, of those that show there."""
    score = count(
        [
            outcome("a", "mask", ("cosine", "additive")),
            outcome("b", "mask", ("additive",), ("cosine",)),
            outcome("c", "scale", ("cosine",)),
        ],
        [],
    )
    assert ({"mask": Killed(2, 2), "scale": Killed(1, 1)}, Killed(3, 3)) == (score.classes, score.mutants)
    assert {"additive": Killed(2, 2), "cosine": Killed(2, 3)} == score.mechanisms
    by_mechanism = {"additive": Killed(2, 2), "cosine": Killed(1, 2)}
    assert {"mask": by_mechanism, "scale": {"cosine": Killed(1, 1)}} == score.table
    assert (KilledElsewhere("b", "cosine"),) == score.killed_elsewhere
    assert score.holds  # it is accused, if not everywhere


def test_nothing_asked_is_no_proof():
    """Without a check nothing holds."""
    assert not count([], []).holds


# --- judging


def mutant(name: str, put: str, stands: str = "# --- what they share") -> Mutant:
    """Return a mutant of one patch."""
    return Mutant(name, "test", ((stands, put),))


def cases():
    """Return some cases that both mechanisms of a test are asked on."""
    return tuple(case.id for case in matrix("quick") if case.mechanism in ("dot_product", "cosine"))[:3]


def first(found: Outcome) -> Verdict | None:
    """Return the first verdict that accuses a mutant."""
    return next(iter(found.witnesses.values()), None)


def test_what_dies_is_caught_and_the_run_goes_on():
    """A crash is a witness on the case that it happened on; the mutants after it are asked."""
    planted = [
        mutant("dies", "    import os\n\n    os._exit(3)\n" + ATTEND, ATTEND),
        mutant("wrong", ATTEND.replace("weights @ value", "2 * weights @ value"), ATTEND),
        mutant("right", ATTEND.replace("weights @ value", "(weights @ value)"), ATTEND),
    ]
    found = ordered(measure(Campaign(tuple(planted), Suite(ids=cases())), jobs=2), [own.name for own in planted])
    assert [Status.CRASH, Status.FAIL, None] == [witness and witness.status for witness in map(first, found)]
    assert "its process died: exit status 3" == first(found[0]).reason
    assert first(found[0]).case in cases()
    assert "mutants dies --case" in first(found[0]).replay


def test_what_hangs_is_caught():
    """A mutant that does not answer is accused of that, on the first case."""
    hangs = mutant("hangs", "    while True:\n        pass\n" + ATTEND, ATTEND)
    [found] = measure(Campaign((hangs,), Suite(ids=cases())), seconds=2)
    assert Status.TIMEOUT is first(found).status
    assert "no answer within 2 s" == first(found).reason


def test_a_variant_that_is_wrong_is_accused():
    """Every accusation is listed, and what is asked is score."""
    right = EquivalentVariant(
        "right", "test", ((ATTEND, ATTEND.replace("weights @ value", "(value.mT @ weights.mT).mT")),)
    )
    wrong = replace(right, name="wrong", patches=((ATTEND, ATTEND.replace("weights @ value", "weights @ value / 2")),))
    trial = judge_variants([right, wrong], 0, [CASE, OTHER])
    assert {"variant:wrong"} == {v.implementation for v in trial.accused}
    assert trial.checks["right"] == trial.checks["wrong"] > len(trial.accused) > 0


def test_a_mutant_is_asked_where_it_reaches():
    """A patch of one mechanism is asked there alone, and what it changes there without being accused is told."""
    kernel = mutant("kernel", "w * 2 * (", "w * (")
    assert 0 == judge_mutant(kernel, Suite(ids=(CASE,))).checks
    nothing = judge_mutant(mutant("nothing", "# ---"), Suite(ids=(CASE,)))
    assert ({}, ()) == (nothing.witnesses, nothing.unseen)


def test_a_mutant_is_judged_as_a_user_declares():
    """One mechanism, the operation's own options, one dtype; what a patch promises, it goes on promising."""
    [[mutant], []] = select(["promises NaN for fully masked rows"])
    declares = narrowed(mutant.implementation(), "masked_softmax", "bfloat16").capabilities
    assert (("masked_softmax",), ("bfloat16",), "nan") == (
        declares.mechanisms,
        declares.dtypes,
        declares.fully_masked_rows,
    )
    assert {"mask", "bias"} <= set(declares.options)
    assert "scale" not in declares.options  # the scores are given
    assert "scale" in mutant.implementation().capabilities.options


def test_the_suite_is_that_of_the_narrowest_declarations():
    """Every case of `check` with one dtype declared is there, the quick ones first, and no other mechanism's."""
    cases = Suite().cases("cosine")
    for dtype in eager().capabilities.dtypes:
        declares = narrowed(eager(), "cosine", dtype).capabilities
        assert set(cases_for(declares)) <= set(cases)
        assert set(cases_for(declares, "quick")) <= set(cases[: len(cases) // 3])
    assert {"cosine"} == {case.mechanism for case in cases}
    assert len(cases) == len(set(cases))


def test_what_shows_is_judged_first_and_nothing_is_left_out():
    """A mutant of one option is killed on the first case that is judged; one that changes nothing is asked them all."""
    ids = tuple(case.id for case in Suite("quick").cases("dot_product")[:80])
    [[polarity], []] = select(["mask polarity"])
    assert judge_mutant(polarity, Suite(ids=ids)).checks < 20
    cases = list(map(parse, ids))
    stands = "    return attend(query @ key.mT, value, **visibility)"
    same = mutant("the same", "    scores = query @ key.mT\n" + stands.replace("query @ key.mT", "scores"), stands)
    found = _Sorted(same, cases[0].mechanism, cases)
    assert [] == list(found.differing(0, None))
    assert sorted(ids) == sorted(case.id for case in (*found.alike(), *found.all_alike()))


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("dropout of the output", "cosine-B4H4Hk4Lq5Lk7D16Dv8-float32-dropout=0.25-ordinary-contiguous"),
        ("gradient of the values twice", "dot_product-B2H3Hk3Lq4Lk6D16Dv8-float32-plain-ordinary-contiguous"),
    ],
)
def test_what_shows_in_training_alone_is_judged_in_the_first_round(monkeypatch, name, case):
    """No plain call runs dropout, and no answer shows a wrong gradient: what training sees is compared too."""
    monkeypatch.setattr(judging, "_FIRST", 0)
    [[fault], []] = select([name])
    assert judge_mutant(fault, Suite(ids=(case,)), alike_too=False).witnesses
    monkeypatch.setattr(_Sorted, "differing_in_training", lambda self, start, count: iter(()))
    assert not judge_mutant(fault, Suite(ids=(case,)), alike_too=False).witnesses


def test_one_verdict_ends_it_where_that_is_enough():
    """A family unseen is asked for one kill; the score by mechanism needs one in each."""
    [[polarity], []] = select(["mask polarity"])
    quick = (case for name in ("cosine", "dot_product") for case in Suite("quick").cases(name))
    suite = Suite(ids=tuple(case.id for case in quick if "mask" in case.options))
    assert {"cosine", "dot_product"} == set(judge_mutant(polarity, suite).witnesses)
    one = judge_mutant(polarity, suite, one_suffices=True)
    assert (1, ()) == (len(one.witnesses), one.unseen)


def test_what_shows_in_no_output_is_judged_after_all(monkeypatch):
    """A gradient that is wrong on the last case alone, whose output is right, kills the mutant in the second round."""
    monkeypatch.setattr(judging, "_FIRST", 2)
    [[doubled], []] = select(["gradient of the bias alone is doubled"])
    cases = [case for case in Suite("quick").cases("scaled_dot_product") if max(case.sizes.values()) < 10]
    plain = [case for case in cases if "bias" not in case.options][:3]
    biased = next(case for case in cases if case.options.get("bias") == "full" and case.dtype == "float32")
    suite = Suite(ids=(*(case.id for case in plain), biased.id))
    assert {} == judge_mutant(doubled, suite, alike_too=False).witnesses
    monkeypatch.setattr(campaign, "_results", lambda tasks, *_: [task.function(*task.arguments) for task in tasks])
    nothing = mutant("nothing", "# ---")
    [found, survived] = measure(Campaign((doubled, nothing), suite))
    assert {"scaled_dot_product": ("gradient_alone", biased.id)} == {
        mechanism: (verdict.check, verdict.case) for mechanism, verdict in found.witnesses.items()
    }
    assert ("nothing", {}) == (survived.mutant, survived.witnesses)


def test_looking_for_a_mutant_hides_nothing():
    """What a mutant sets in the process is seen by its checks, although it ran before they did."""
    [[setting], []] = select(["the default dtype is set"])
    found = judge_mutant(setting, Suite(ids=tuple(case.id for case in Suite("quick").cases("location")[:2])))
    assert ["purity"] == [verdict.check for verdict in found.witnesses.values()]
    assert "the default dtype" in found.witnesses["location"].reason


def test_variants_take_turns():
    """One in `share` is asked on a case, and each has its turn, also among the rows' cases that are asked at all."""
    of_row = next(case for case in Suite().cases("cosine") if case not in set(matrix("thorough")))
    assert range(40) == _at_turn(of_row, 40, 1)
    drawn = [replace(of_row, draw=draw) for draw in range(1000)]
    turns = [set(_at_turn(case, 40, 8)) for case in drawn if case.fingerprint % 8 == 0]
    assert {5} == set(map(len, turns))
    assert set(range(40)) == set().union(*turns)


def test_a_difference_is_seen_without_a_check():
    """Beyond the error bound, in the output or in the weights; a rounding is none."""
    case = parse(CASE)
    changed = {
        "weights @ value * (1 + 2e-16)": False,
        "weights @ value * 1.001": True,
        "(weights @ value)[..., :1]": True,
        "1 / 0": True,
    }
    for put, differs in changed.items():
        patches = ((ATTEND, ATTEND.replace("weights @ value", put)),)
        assert differs is changes_output(EquivalentVariant("x", "test", patches).implementation(), eager(), case), put


def test_only_known_names():
    """Near names are offered; mutants and variants share the names, and neither hides the other."""
    with pytest.raises(HarnessError, match="Did you mean 'mask polarity'"):
        select(["mask polarty"])
    mutants, variants = select([])
    assert not {f.name for f in mutants} & {v.name for v in variants}


def test_what_accuses_eager_too_kills_nothing(monkeypatch):
    """A campaign ends there, and says which check to mend."""
    [[polarity, unscaled], []] = select(["mask polarity", "not scaled"])
    case = "scaled_dot_product-B2H1Hk1Lq3Lk4D2Dv2-float64-mask=full-ordinary-contiguous"
    judging._of_eager(parse(case), False)  # kept: what eager answers and runs
    monkeypatch.setattr(judging, "eager", lambda: polarity.implementation())
    with pytest.raises(HarnessError, match="accuracy accuses eager itself on scaled_dot_product-B2H1"):
        judge_mutant(unscaled, Suite(ids=(case,)))
