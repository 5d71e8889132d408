"""`mutants` ignores nothing: what --sensitivity or --diagnose does not take is a mistake, told in one line."""

from __future__ import annotations

import pytest

from tests.registry.sources import TINY

NOT_TAKEN = {
    "--sensitivity": {
        "NAME": ("mask polarity",),
        "--jobs": ("--jobs", "1"),
    },
    "--diagnose": {
        "--case": ("--case", TINY),
    },
}


@pytest.mark.parametrize(("instead", "option"), [(i, option) for i in NOT_TAKEN for option in NOT_TAKEN[i]])
def test_an_option_that_would_be_ignored(mistake, tmp_path, monkeypatch, instead, option):
    """Status 2, before anything is measured or written; the line names the option and what to do."""
    monkeypatch.chdir(tmp_path)
    line = mistake("mutants", instead, *NOT_TAKEN[instead][option])
    assert line.startswith(f"mutants {instead} takes no {option}: it ")
    assert "; " in line
    assert [] == list(tmp_path.iterdir())


def test_one_question_at_a_time(harness):
    """--sensitivity and --diagnose exclude each other."""
    answer = harness("mutants", "--sensitivity", "--diagnose")
    assert (answer.status, answer.out) == (2, "")
    assert "argument --diagnose: not allowed with argument --sensitivity" in answer.err
