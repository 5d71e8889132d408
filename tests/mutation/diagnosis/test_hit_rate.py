"""`mutants diagnose` survives what it plants, and takes the names of mutants alone."""

from __future__ import annotations

from attention_harness.model.diagnosis import Match
from attention_harness.mutation import diagnosis_accuracy
from attention_harness.mutation.mutants import Mutant

ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"


def test_what_gives_no_answer_is_not_named():
    """A process that dies, or that hangs: each is a mutant that was not named, with a reason; the rest goes on."""
    deeds = {"dies": "    import os\n\n    os._exit(3)\n", "hangs": "    while True:\n        pass\n"}
    planted = [Mutant(name, "test", ((ATTEND, deed + ATTEND),)) for name, deed in deeds.items()]
    # A busy machine may need long to come to the death, and a hang needs no time at all to be one.
    found = [
        *diagnosis_accuracy.measure(planted[:1], "quick", jobs=1),
        *diagnosis_accuracy.measure(planted[1:], "quick", jobs=1, seconds=5),
    ]
    expected = [("dies", "its process died: exit status 3"), ("hangs", "no answer within 5 s")]
    assert expected == [(one.mutant, one.lost) for one in found]
    assert [False, False] == [one.named for one in found]
    assert "0 of 2 mutants named" in diagnosis_accuracy.table(found)


def test_a_lost_mutant_is_told(harness, monkeypatch):
    """Its reason stands beside its name, and it counts as not named."""
    lost = diagnosis_accuracy.Naming("mask polarity", "mask", (), "no answer within 9 s")
    monkeypatch.setattr(diagnosis_accuracy, "measure", lambda *_, **__: iter([lost]))
    answer = harness("mutants", "diagnose", "mask polarity")
    assert (1, "diagnosis: mask polarity taken for nothing: no answer within 9 s\n") == (answer.status, answer.err)
    assert "0 of 1 mutants named" in answer.out


def test_what_was_measured_is_not_measured_again(harness, monkeypatch, tmp_path):
    """Killed between two mutants, it goes on with the second; a run of other mutants is refused."""
    names = ["mask polarity", "last key dropped"]
    asked = []

    def measured(mutants, *_, **__):
        for mutant in mutants:
            if len(asked) == 1 and mutant.name == names[1] and not (tmp_path / "again").exists():
                raise KeyboardInterrupt
            asked.append(mutant.name)
            yield diagnosis_accuracy.Naming(
                mutant.name, mutant.kind, (Match(mutant.name, mutant.kind, "", 1, 0.5, 2, 2),)
            )

    monkeypatch.setattr(diagnosis_accuracy, "measure", measured)
    command = ("mutants", "diagnose", *names, "--out", tmp_path / "run")
    assert 130 == harness(*command).status
    (tmp_path / "again").write_text("")
    answer = harness(*command, "--resume")
    assert (0, "resume: 1 tasks are done\n") == (answer.status, answer.err)
    assert names == asked
    assert "2 of 2 mutants named" in answer.out
    assert 2 == harness("mutants", "diagnose", names[0], "--out", tmp_path / "run", "--resume").status


def test_only_mutants_are_diagnosed(mistake):
    """An unknown name is told shortly; a equivalent variant has no cause."""
    line = mistake("mutants", "diagnose", "no such mutant")
    assert line.startswith(
        "no mutant or variant 'no such mutant'; `python -m attention_harness list mutants` names all "
    )
    line = mistake("mutants", "diagnose", "sum by einsum")
    assert line.startswith("mutants diagnose: 'sum by einsum' is a equivalent variant, ")
