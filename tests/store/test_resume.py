"""A run that was killed goes on where it stopped, on the same machine and with the same plan."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from attention_harness import store
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import Environment, ImplementationFacts, RunFacts
from attention_harness.model.verdict import Status, Verdict

FILES = {
    "eager": ImplementationFacts(summary="Eager.", sha256="e1"),
    "mine": ImplementationFacts(summary="Mine.", sha256="m1"),
}
FACTS = RunFacts(
    command="check",
    tier="quick",
    planned=2,
    plan="a1",
    started="then",
    environment=Environment(cores=2),
    implementations=FILES,
)
FIRST = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.25)
SECOND = Verdict("eager", "cosine", "cosine-B2", "accuracy", Status.PASS, error_ratio=0.5)


def test_it_goes_on(tmp_path):
    """What was reached is kept and handed over; what follows is appended; the facts stay those of the start."""
    store.Writer.start(tmp_path, FACTS).add(FIRST)
    writer, verdicts, repaired = store.Writer.resume(tmp_path, replace(FACTS, started="now"))
    assert (verdicts, repaired) == ([FIRST], "")
    writer.add(SECOND)
    run = store.load(tmp_path)
    assert run.verdicts == (FIRST, SECOND)
    assert run.facts.started == "then"


@pytest.mark.parametrize("cut", [1, 10, 80])
def test_a_torn_line_is_dropped(tmp_path, cut):
    """A last line that the kill left unfinished is cut off, and told; the next one starts a line of its own."""
    store.Writer.start(tmp_path, FACTS).add(FIRST, SECOND)
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    writer, verdicts, repaired = store.Writer.resume(tmp_path, FACTS)
    assert verdicts == [FIRST]
    assert f"{path}: dropped " in repaired
    writer.add(SECOND)
    assert store.load(tmp_path).verdicts == (FIRST, SECOND)


@pytest.mark.parametrize(
    "now",
    [
        {"tier": "default", "command": "check --quick"},
        {"implementations": FILES | {"mine": ImplementationFacts(summary="Better.", sha256="m1")}},
        {"environment": Environment(cores=2, load=(9.0,), threads=4)},
    ],
)
def test_what_does_not_matter_does_not_stop_it(tmp_path, now):
    """The same checks of the same files on the same machine are the same run, however they were asked for."""
    store.Writer.start(tmp_path, FACTS).add(FIRST)
    assert (FIRST,) == tuple(store.Writer.resume(tmp_path, replace(FACTS, **now))[1])


def test_a_run_that_does_not_say_is_refused(tmp_path):
    """A run of a version that kept no plan, or no hash of a file, cannot be shown to be the same."""
    for lacking in ("plan", "implementations"):
        folder = tmp_path / lacking
        store.Writer.start(folder, replace(FACTS, **{lacking: getattr(RunFacts(), lacking)})).add(FIRST)
        with pytest.raises(HarnessError, match=r"holds another run: 2 checks|eager has changed since"):
            store.Writer.resume(folder, FACTS)


def test_another_run_keeps_its_torn_line(tmp_path):
    """A run that is refused is not repaired either: its own command will say what it drops."""
    store.Writer.start(tmp_path, FACTS).add(FIRST, SECOND)
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    before = path.read_bytes()
    with pytest.raises(HarnessError, match="holds another run"):
        store.Writer.resume(tmp_path, replace(FACTS, plan="b2"))
    assert before == path.read_bytes()


@pytest.mark.parametrize(
    ("now", "complaint"),
    [
        ({"plan": "b2"}, "holds another run: 2 checks, not these 2; resume with its own command: check"),
        ({"plan": "b2", "planned": 3}, "holds another run: 2 checks, not these 3; resume with its own command: check"),
        (
            {"implementations": FILES | {"mine": ImplementationFacts(summary="Mine.", sha256="m2")}},
            "mine has changed since",
        ),
        ({"implementations": {"third": ImplementationFacts(sha256="t1")}}, "third has changed since"),
        ({"environment": Environment(cores=64)}, "was begun on another machine or with other versions"),
    ],
)
def test_another_run_is_refused(tmp_path, now, complaint):
    """Another plan or machine does not go on with this one, and the run is left as it is."""
    store.Writer.start(tmp_path, FACTS).add(FIRST)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(HarnessError, match=re.escape(complaint)):
        store.Writer.resume(tmp_path, replace(FACTS, **now))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_there_has_to_be_a_run(tmp_path):
    """Nothing to go on with is an error, and begins nothing."""
    with pytest.raises(HarnessError, match=r"is no run directory: it has no run\.json"):
        store.Writer.resume(tmp_path, FACTS)
    assert list(tmp_path.iterdir()) == []
