"""The verb `mutants`: its exit status, what it prints, and that a resumed run is the whole run."""

from __future__ import annotations

import json

from msgspec.structs import replace

from attention_harness import store
from attention_harness.commands.main import main
from attention_harness.model.mutation_results import Outcome

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float64-plain-ordinary-contiguous"
OTHER = "masked_softmax-B1H1Lq2Lk3-float64-plain-ordinary-contiguous"


def test_the_exit_status_and_the_witness(capsys):
    """0 when every mutant is killed, with case, check and reason; 2 for a name that there is not."""
    assert 0 == main(["mutants", "cosine by the L1 norm", "--case", CASE, "--jobs", "1"])
    told = capsys.readouterr().out
    assert f"fail of accuracy on {CASE}: |error|" in told
    assert f"replay: python -m attention_harness mutants 'cosine by the L1 norm' --case {CASE}" in told
    assert "killed 1 of 1 mutants" in told
    assert 2 == main(["mutants", "no such mutant"])
    assert "no mutant or equivalent variant 'no such mutant'" in capsys.readouterr().err


def test_a_survivor_is_exit_status_1(capsys):
    """A mutant on a case that it does not touch survives."""
    assert 1 == main(["mutants", "mask polarity", "--case", CASE, "--jobs", "1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ({"killed": 0, "of": 1}, ["mask polarity"]) == (told["score"]["mutants"], told["score"]["survived"])
    assert not told["holds"]


NAMES = ("cosine by the L1 norm", "last key dropped", "sum by einsum")


def test_a_resumed_run_is_the_whole_run(tmp_path, capsys):
    """Killed after any task, it goes on to the same outcomes; the task of a torn line is run again."""
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
