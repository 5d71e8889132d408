"""A run directory reads back as it was written, is never half a file, and merges with others of its machine."""

from __future__ import annotations

import json
import os

import pytest
from msgspec import structs

from attention_harness import store
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import FORMAT, CudaDevice, Environment, RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store.writer import write_document

PASS = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.25, where=(0, 1), seconds=0.5)
FAR = Verdict("mine", "cosine", "cosine-B1", "accuracy", Status.FAIL, error_ratio=None, error=1e300, reason="inf\n")
TIMED = Measurement("mine", "cosine", "tiny", "cosine-B1", 1, "refused", "it does not conform: \u2028 inf")
HERE = Environment(python="3.11", platform="Linux", cores=2, packages={"torch": "2.9"}, load=(1.0,))


def written(directory, **facts):
    writer = store.Writer.start(directory, RunFacts(**{"command": "check", "planned": 2, "environment": HERE} | facts))
    for item in (PASS, FAR, TIMED):
        writer.add(item)
    return writer


def test_what_is_written_is_read(tmp_path):
    """Facts, verdicts and measurements come back equal, odd line ends included."""
    writer = written(tmp_path / "deep" / "run")
    writer.update(finished="now")
    run = store.load(tmp_path / "deep" / "run")
    assert (run.verdicts, run.measurements) == ((PASS, FAR), (TIMED,))
    assert run.facts == RunFacts(schema=FORMAT, command="check", planned=2, environment=HERE, finished="now")


def test_every_line_is_there_before_the_next(tmp_path):
    """A run that is killed leaves all that was finished: a line is on disk as soon as it is added."""
    writer = store.Writer.start(tmp_path, RunFacts())
    for number in range(1, 4):
        writer.add(PASS)
        assert number == len(store.load(tmp_path).verdicts)


def test_an_empty_run_is_a_run(tmp_path):
    """Before the first verdict there is nothing to read, and nothing wrong."""
    store.Writer.start(tmp_path, RunFacts())
    run = store.load(tmp_path)
    assert (run.verdicts, run.measurements, run.heatmaps) == ((), (), {})


def test_a_run_is_not_written_over(tmp_path):
    """A directory that holds a run is refused and left as it is."""
    written(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(HarnessError, match="already holds a run"):
        store.Writer.start(tmp_path, RunFacts(command="another"))
    assert before == (tmp_path / "run.json").read_bytes()


def test_a_directory_that_cannot_be_made(tmp_path):
    """A file in the way is one line."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(HarnessError, match="cannot make the run directory"):
            store.Writer.start(place, RunFacts())


@pytest.mark.parametrize("data", [{"x": object()}, {"x": 1j}, {object(): 1}])
def test_a_failed_write_leaves_the_old_file(tmp_path, data):
    """What cannot be written as JSON costs the new content and not the old."""
    path = tmp_path / "run.json"
    write_document(path, {"old": True})
    with pytest.raises((ValueError, TypeError, NotImplementedError, OverflowError)):
        write_document(path, data)
    assert json.loads(path.read_text()) == {"old": True}


def test_a_reader_never_sees_half_a_file(tmp_path):
    """The new file takes the place of the old one, which whoever has it open still reads as it was."""
    path = tmp_path / "run.json"
    write_document(path, {"old": True})
    with path.open() as before:
        write_document(path, {"new": True})
        assert json.load(before) == {"old": True}
    assert json.loads(path.read_text()) == {"new": True}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_failed_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    """Neither does a disk that fills up between."""
    path = tmp_path / "run.json"
    write_document(path, {"old": True})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HarnessError, match=r"cannot write .*run\.json: No space left on device; it is left as it was"):
        write_document(path, {"new": True})
    assert json.loads(path.read_text()) == {"old": True}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_runs_of_one_machine_merge(tmp_path):
    """Every answer is kept, but what both asked counts once in the plan; load may differ."""
    written(tmp_path / "a")
    other = structs.replace(PASS, case="cosine-B2")
    written(tmp_path / "b", environment=structs.replace(HERE, load=(9.0,)), command="bench", planned=3).add(other)
    merged = store.merge([store.load(tmp_path / name) for name in ("a", "b")])
    assert (PASS, FAR, PASS, FAR, other) == merged.verdicts
    assert merged.measurements == (TIMED, TIMED)
    assert (merged.facts.command, merged.facts.planned) == ("check; bench", 3)


@pytest.mark.parametrize("order", [("fails", "passes"), ("passes", "fails")])
def test_a_failure_survives_a_merge(tmp_path, order):
    """What failed in one run and passed in another has failed, whichever came first."""
    for name, verdict in (
        ("fails", FAR),
        ("passes", structs.replace(FAR, status=Status.PASS, error_ratio=0.5, reason="")),
    ):
        store.Writer.start(tmp_path / name, RunFacts(planned=1)).add(verdict)
    merged = store.merge([store.load(tmp_path / name) for name in order])
    assert FAR in merged.verdicts
    assert merged.facts.planned == 1


@pytest.mark.parametrize(
    "other",
    [
        {"cores": 64},
        {"python": "3.13"},
        {"packages": {"torch": "3.0"}},
        {"cuda": (CudaDevice("H200", 1, "9.0"),)},
        None,
    ],
)
def test_what_comes_from_another_machine_says_so(tmp_path, other):
    """Another processor, device or version has a label in each name, and so has a run that does not say."""
    there = structs.replace(HERE, **other) if other else Environment()
    for name, environment in (("a", HERE), ("b", there), ("c", there), ("d", HERE)):
        store.Writer.start(tmp_path / name, RunFacts(planned=1, environment=environment)).add(FAR)
    merged = store.merge([store.load(tmp_path / name) for name in "abcd"])
    assert merged.machines == {"machine2": there}
    assert merged.facts.environment == HERE
    one = FAR.implementation
    assert [verdict.implementation for verdict in merged.verdicts] == [one, f"{one}@machine2", f"{one}@machine2", one]
    assert merged.facts.planned == 2
