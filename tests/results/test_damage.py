"""What is wrong with a run directory is one complaint that names the file and the line."""

from __future__ import annotations

import json

import pytest

from harness import results
from harness.values import HarnessError, Status, Verdict

PASS = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, share=0.25, where=(0, 1))


def complaint(directory) -> str:
    with pytest.raises(HarnessError) as caught:
        results.load(directory)
    return str(caught.value)


DAMAGE = {
    "junk": (b"\x80\x81\xff\x00", "cannot be read"),
    "half": (b'{"schema": 1', "cannot be read"),
    "empty": (b"", "cannot be read"),
    "nested without end": (b"[" * 100_000, "cannot be read"),
    "older": (
        b'{"schema": 0, "command": "harness check"}',
        "schema 0, this version reads 1; run the command again",
    ),
    "newer": (b'{"schema": 2}', "schema 2, this version reads 1"),
    "without a schema": (b"{}", "schema None"),
    "a list": (b"[1]", "schema None"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_json(tmp_path, damage):
    """One complaint that names the file."""
    content, expected = DAMAGE[damage]
    (tmp_path / "run.json").write_bytes(content)
    text = complaint(tmp_path)
    assert expected in text
    assert str(tmp_path / "run.json") in text


def test_no_run_directory(tmp_path):
    """What holds no run is told from what cannot be read."""
    assert f"{tmp_path} is no run directory: it has no run.json" == complaint(tmp_path)
    assert f"{tmp_path / 'no'} is no run directory: it has no run.json" == complaint(tmp_path / "no")


LINES = {
    "half a line": b'{"implementation": "eag',
    "junk": b"\xff\xfe",
    "another object": b"[1, 2]",
    "a number": b"7",
    "an empty line": b"",
    "an impossible pass": json.dumps(PASS.to_json() | {"share": None}).encode(),
    "an unknown status": json.dumps(PASS.to_json() | {"status": "fine"}).encode(),
    "a number beyond floats": json.dumps(PASS.to_json() | {"share": 10**400}).encode(),
    "a missing field": json.dumps({"implementation": "eager"}).encode(),
}


@pytest.mark.parametrize("damage", LINES)
def test_a_damaged_verdict_is_named_by_line(tmp_path, damage):
    """The complaint names the file and, where its text can be read, the number of the line."""
    results.Writer.start(tmp_path, {}).add(PASS, PASS)
    with (tmp_path / "verdicts.jsonl").open("ab") as file:
        file.write(LINES[damage] + b"\n")
    text = complaint(tmp_path)
    assert str(tmp_path / "verdicts.jsonl") in text
    assert "line 3: not a verdict" in text or damage == "junk"
