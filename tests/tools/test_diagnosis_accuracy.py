"""`tools/diagnosis_accuracy.py` survives the mutants that it runs, and measures none twice."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from attention_harness.model.diagnosis import Match
from attention_harness.mutation.catalogue import mutants
from attention_harness.mutation.patched import Mutant
from tests.conftest import DEEP

ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"
NAMES = ["mask polarity", "last key dropped"]


@pytest.fixture
def tool(monkeypatch) -> SimpleNamespace:
    """Return the tool's module, importable under its own name in this process and in its workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module("diagnosis_accuracy")


def test_what_gives_no_result_is_not_named(tool):
    """A process that dies or hangs is a mutant that was not named, with a reason; the rest goes on."""
    deeds = {"dies": "    import os\n\n    os._exit(3)\n", "hangs": "    while True:\n        pass\n"}
    dies, hangs = (Mutant(name, "test", ((ATTEND, deed + ATTEND),)) for name, deed in deeds.items())
    # A busy machine may need long to come to the death, and a hang needs no time at all to be one.
    found = [*tool.measure([dies], "quick", jobs=1), *tool.measure([hangs], "quick", jobs=1, seconds=5)]
    expected = [("dies", "its process died: exit status 3"), ("hangs", "no answer within 5 s")]
    assert expected == [(one.mutant, one.lost) for one in found]
    assert [False, False] == [one.named for one in found]
    assert "0 of 2 mutants named" in tool.table(found)


@pytest.mark.skipif(not DEEP, reason="half a minute: `tox -e thorough` asks it, and `tox -e diagnosis` all of them")
def test_a_sample_of_the_mutants_is_named(tool):
    """A mutant under another name is named; `tox -e diagnosis` measures all."""
    shown = [mutant for mutant in mutants() if mutant.kind in ("mask", "causality", "scale", "softmax")]
    found = [tool.name(mutant, "quick") for mutant in random.Random(25).sample(shown, 1)]
    assert tool.accuracy(found) == 1, tool.table(found)


def naming(tool, name: str, *matches: str):
    """Return a result that names these mutants."""
    return tool.Naming(name, "mask", tuple(Match(match, "mask", "", 1, 0.5, 2, 2) for match in matches))


def test_too_few_named_is_exit_status_1(tool, monkeypatch, capsys):
    """What a mutant was taken for is printed, and so is the accuracy."""
    monkeypatch.setattr(tool, "measure", lambda *_: iter([naming(tool, NAMES[0], "mask ignored")]))
    assert 1 == tool.main([NAMES[0]])
    printed = capsys.readouterr()
    assert "mask polarity taken for mask ignored\n" == printed.err
    assert "0 of 1 mutants named among the first three: 0.0%, goal 80%" in printed.out


def test_what_was_measured_is_not_measured_again(tool, monkeypatch, tmp_path, capsys):
    """Cut short within the second line, the file gives the first mutant, and the second is measured again."""
    measured = []

    def measure(mutants, *_):
        measured.extend(mutant.name for mutant in mutants)
        yield from (naming(tool, mutant.name, mutant.name) for mutant in mutants)

    monkeypatch.setattr(tool, "measure", measure)
    path = tmp_path / "new" / "namings.jsonl"
    assert 0 == tool.main([*NAMES, "--out", str(path)])
    path.write_bytes(path.read_bytes()[:-10])
    first, second = measured
    assert 0 == tool.main([*NAMES, "--out", str(path)])
    assert [first, second, second] == measured
    assert 2 == len(path.read_bytes().splitlines())
    assert "2 of 2 mutants named" in capsys.readouterr().out


def test_an_unknown_name_is_refused(tool, capsys):
    """Equivalent variants have no cause, so that their names are unknown here."""
    with pytest.raises(SystemExit):
        tool.main(["sum by einsum"])
    assert "invalid choice: 'sum by einsum'" in capsys.readouterr().err
