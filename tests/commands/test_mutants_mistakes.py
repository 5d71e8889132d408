"""`mutants sensitivity` measures cases: what names mutants, or spreads them over processes, is refused."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("unknown", [("mask polarity",), ("--jobs", "1")])
def test_an_option_that_would_be_ignored(harness, tmp_path, monkeypatch, unknown):
    """Status 2, before anything is measured or written."""
    monkeypatch.chdir(tmp_path)
    answer = harness("mutants", "sensitivity", *unknown)
    assert (2, "") == (answer.status, answer.out)
    assert f"unrecognized arguments: {' '.join(unknown)}" in answer.err
    assert [] == list(tmp_path.iterdir())
