"""What is wrong with a run directory is one complaint that names the file and the line."""

from __future__ import annotations

import json
import math

import pytest

from attention_harness import store
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store.encoding import plain

PASS = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.25, where=(0, 1))


def complaint(directory) -> str:
    with pytest.raises(HarnessError) as caught:
        store.load(directory)
    return str(caught.value)


DAMAGE = {
    "junk": (b"\x80\x81\xff\x00", "cannot be read"),
    "half": (b'{"schema": 3', "cannot be read"),
    "empty": (b"", "cannot be read"),
    "lists without end": (b"[" * 100_000, "is of format null"),
    "nested without end": (b'{"schema": ' + b"[" * 100_000, "cannot be read: it nests too deep"),
    "older": (
        b'{"schema": 0, "command": "harness check"}',
        "is of format 0; this version reads format 3: run its command again: harness check",
    ),
    "newer": (b'{"schema": 4}', "is of format 4; this version reads format 3"),
    "of another kind": (b'{"schema": {"a": [1]}}', "is of format"),
    "without a version": (b"{}", "is of format null"),
    "a list": (b"[1]", "is of format null"),
    "with an unknown field": (b'{"schema": 3, "colour": "red"}', "is not what this version writes: "),
    "with a field of another type": (b'{"schema": 3, "planned": "3"}', "- at `$.planned`"),
    "with a number too large": (b'{"schema": 3, "planned": 9007199254740993}', "- at `$.planned`"),
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
    "an impossible pass": json.dumps(plain(PASS) | {"error_ratio": None}).encode(),
    "an unknown status": json.dumps(plain(PASS) | {"status": "fine"}).encode(),
    "a number beyond floats": json.dumps(plain(PASS) | {"error_ratio": 10**400}).encode(),
    "a missing field": json.dumps({"implementation": "eager"}).encode(),
    "an unknown field": json.dumps(plain(PASS) | {"colour": "red"}).encode(),
    "an infinite number": json.dumps(plain(PASS) | {"error": math.inf}).encode(),
    "half a surrogate pair": json.dumps(plain(PASS) | {"reason": "\ud800"}).encode(),
    "lists without end": b'{"where": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("damage", LINES)
def test_a_damaged_verdict_is_named_by_line(tmp_path, damage):
    """The complaint names the file and, where its text can be read, the number of the line."""
    store.Writer.start(tmp_path, RunFacts()).add(PASS, PASS)
    with (tmp_path / "verdicts.jsonl").open("ab") as file:
        file.write(LINES[damage] + b"\n")
    text = complaint(tmp_path)
    assert str(tmp_path / "verdicts.jsonl") in text
    assert "line 3: not a verdict" in text
    assert "remove the line, and --resume runs again what it held" in text


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_last_line_is_read_around(tmp_path, harness, cut):
    """`report` tells the rest, says what it leaves out, on the screen and in the report, and changes nothing."""
    facts = RunFacts(planned=2, command="check")
    with store.Writer.start(tmp_path, facts) as writer:
        writer.add(PASS, PASS)
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    before = path.read_bytes()
    run = store.load(tmp_path)
    assert (PASS,) == run.verdicts
    [note] = run.notes
    torn = len(before.splitlines()[-1])
    assert f"{path}: {torn} bytes of an unfinished last line are left out" in note
    answer = harness("report", tmp_path)
    assert (0, note + "\n") == (answer.status, answer.err)
    assert "bytes of an unfinished last line are left out" in (tmp_path / "report.md").read_text()
    assert before == path.read_bytes()


def test_a_line_that_is_torn_in_the_middle_is_damage(tmp_path):
    """Only the last line can have been cut short by a kill: another is told by its number, to a resumed run too."""
    facts = RunFacts(planned=2, plan="a")
    store.Writer.start(tmp_path, facts).add(PASS, PASS)
    path = tmp_path / "verdicts.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first[:40] + b"\n" + second)
    assert "verdicts.jsonl, line 1: not a verdict" in complaint(tmp_path)
    with pytest.raises(HarnessError, match="line 1: not a verdict"):
        list(store.Writer.resume(tmp_path, facts)[1])


def test_what_a_kill_left_of_a_replacement_is_cleared_away(tmp_path):
    """A reader passes it by, a resumed run removes it; killed before run.json was there, it is begun."""
    facts = RunFacts(planned=1, plan="a")
    store.Writer.start(tmp_path, facts).add(PASS)
    part = tmp_path / "run.json.part"
    part.write_text('{"half": ')
    assert ((PASS,), ()) == (store.load(tmp_path).verdicts, store.load(tmp_path).notes)
    store.Writer.resume(tmp_path, facts)
    assert not part.exists()
    for path in (tmp_path / "run.json", tmp_path / "verdicts.jsonl"):
        path.unlink()
    part.write_text('{"half": ')
    _, verdicts, repaired = store.Writer.resume(tmp_path, facts)
    assert ([], "resume: nothing was there yet") == (verdicts, repaired)
    assert not part.exists()
    assert 1 == store.load(tmp_path).facts.planned
