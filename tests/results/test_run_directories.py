"""A run directory reads back as it was written, is never half a file, and says what is wrong with it."""

from __future__ import annotations

import json
import math

import pytest

from harness import results
from harness.measurements import Measurement
from harness.values import HarnessError, Status, Verdict

PASS = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, share=0.25, where=(0, 1), seconds=0.5)
FAR = Verdict("mine", "cosine", "cosine-B1", "accuracy", Status.FAIL, share=math.inf, error=math.inf, reason="inf\n")
TIMED = Measurement("mine", "cosine", "tiny", "cosine-B1", 1, "refused", "it does not conform: \u2028 inf")
HERE = {"python": "3.11", "platform": "Linux", "cores": 2, "packages": {"torch": "2.9"}, "load": [1.0]}


def written(directory, **facts):
    writer = results.Writer.start(directory, {"command": "check", "planned": 2, "environment": HERE} | facts)
    for item in (PASS, FAR, TIMED):
        writer.add(item)
    return writer


def complaint(directory) -> str:
    with pytest.raises(HarnessError) as caught:
        results.load(directory)
    return str(caught.value)


def test_what_is_written_is_read(tmp_path):
    """Facts, verdicts and measurements come back equal, infinities and odd line ends included."""
    writer = written(tmp_path / "deep" / "run")
    writer.update(finished="now")
    run = results.load(tmp_path / "deep" / "run")
    assert ((PASS, FAR), (TIMED,)) == (run.verdicts, run.measurements)
    assert {"schema": 1, "command": "check", "planned": 2, "environment": HERE, "finished": "now"} == run.facts


def test_every_line_is_there_before_the_next(tmp_path):
    """A run that is killed leaves all that was finished: a line is on disk as soon as it is added."""
    writer = results.Writer.start(tmp_path, {})
    for number in range(1, 4):
        writer.add(PASS)
        assert number == len(results.load(tmp_path).verdicts)


def test_an_empty_run_is_a_run(tmp_path):
    """Before the first verdict there is nothing to read, and nothing wrong."""
    results.Writer.start(tmp_path, {})
    run = results.load(tmp_path)
    assert ((), (), {}) == (run.verdicts, run.measurements, run.heatmaps)


def test_a_run_is_not_written_over(tmp_path):
    """A directory that holds a run is refused and left as it is."""
    written(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(HarnessError, match="already holds a run"):
        results.Writer.start(tmp_path, {"command": "another"})
    assert before == (tmp_path / "run.json").read_bytes()


def test_a_directory_that_cannot_be_made(tmp_path):
    """A file in the way is one line."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(HarnessError, match="cannot make the run directory"):
            results.Writer.start(place, {})


@pytest.mark.parametrize("data", [{"x": math.nan}, {"x": object()}, {"x": {1, 2}}])
def test_a_failed_write_leaves_the_old_file(tmp_path, data):
    """What cannot be written as JSON costs the new content and not the old."""
    path = tmp_path / "run.json"
    results.write_json(path, {"old": True})
    with pytest.raises((ValueError, TypeError)):
        results.write_json(path, data)
    assert {"old": True} == json.loads(path.read_text())


def test_a_failed_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    """Neither does a disk that fills up between."""
    path = tmp_path / "run.json"
    results.write_json(path, {"old": True})

    def full(self, text, **_):
        with self.open("w") as file:
            file.write(text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_json(path, {"new": True})
    assert {"old": True} == json.loads(path.read_text())


DAMAGE = {
    "junk": (b"\x80\x81\xff\x00", "cannot be read"),
    "half": (b'{"schema": 1', "cannot be read"),
    "empty": (b"", "cannot be read"),
    "nested without end": (b"[" * 100_000, "cannot be read"),
    "older": (b'{"schema": 0, "command": "harness check"}', "schema 0, this version reads 1; run the command again"),
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
    written(tmp_path)
    with (tmp_path / "verdicts.jsonl").open("ab") as file:
        file.write(LINES[damage] + b"\n")
    text = complaint(tmp_path)
    assert str(tmp_path / "verdicts.jsonl") in text
    assert "line 3: not a verdict" in text or damage == "junk"


def test_runs_of_one_machine_merge(tmp_path):
    """Verdicts and measurements stand one after the other; load may differ."""
    written(tmp_path / "a")
    written(tmp_path / "b", environment=HERE | {"load": [9.0]}, command="bench")
    merged = results.merge([results.load(tmp_path / name) for name in ("a", "b")])
    assert (PASS, FAR, PASS, FAR) == merged.verdicts
    assert (TIMED, TIMED) == merged.measurements
    assert ("check; bench", 4) == (merged.facts["command"], merged.facts["planned"])


@pytest.mark.parametrize(
    "other", [{"cores": 64}, {"python": "3.13"}, {"packages": {"torch": "3.0"}}, {"cuda": [{"name": "H200"}]}, None]
)
def test_runs_of_two_machines_do_not(tmp_path, other):
    """Another processor, device or version is refused, and so is a run that does not say."""
    written(tmp_path / "a")
    written(tmp_path / "b", environment=other and HERE | other)
    with pytest.raises(HarnessError, match="come from different machines or versions"):
        results.merge([results.load(tmp_path / name) for name in ("a", "b")])
