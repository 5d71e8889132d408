"""A damaged run directory that `check --resume` is to go on with is a mistake in a line."""

from __future__ import annotations

import json

import pytest

from tests.registry.sources import TINY, write

OTHER = TINY.replace("Lk3", "Lk4")


@pytest.fixture
def begun(harness, tmp_path):
    """Return a command whose run directory holds a failure, and that directory."""
    path = write(tmp_path / "wrong.py", scores="query @ key.mT")
    command = ("check", "--load", path, "--case", TINY, "--out", tmp_path / "run")
    assert harness(*command, "--no-diagnosis").status == 1
    return (*command, "--resume"), tmp_path / "run"


def test_a_diagnosis_that_is_none(begun, harness):
    """It is read by its type: what it lacks is named."""
    command, run = begun
    (run / "diagnosis.json").write_text('[{"implementation": "wrong"}]')
    answer = harness(*command)
    assert 2 == answer.status
    assert (
        "diagnosis.json is not what this version writes: Object missing required field `matches`"
        in answer.err.splitlines()[-1]
    )


def test_a_verdict_outside_the_plan(begun, harness):
    """It answers what was not asked, and is not counted."""
    command, run = begun
    rows = [json.loads(line) for line in (run / "verdicts.jsonl").read_text().splitlines()]
    (run / "verdicts.jsonl").write_text("".join(json.dumps(row | {"case": OTHER}) + "\n" for row in rows))
    answer = harness(*command)
    assert (2, "") == (answer.status, answer.out)
    assert f"verdicts.jsonl: accuracy of wrong on {OTHER} is not in the plan" in answer.err.splitlines()[-1]
