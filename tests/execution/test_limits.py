"""The limits that `check` is given hold in every worker that it starts."""

from __future__ import annotations

import pytest

from attention_harness.execution import hosts, pool
from attention_harness.execution.limits import Limits
from tests.registry.sources import TINY, write


@pytest.fixture
def limits_of_workers(monkeypatch):
    """Return the limits of the workers, and of first imports, as they are made; they work."""
    found = []
    original = pool.Worker.__init__

    def noted(self, limits, start=None):
        found.append(limits)
        original(self, limits, start)

    def noted_import(self, source, nursery, limit, seconds=None):
        found.extend([] if nursery else [Limits(seconds, limit)])
        start(self, source, nursery, limit, seconds)

    start = hosts.Host.__init__
    monkeypatch.setattr(pool.Worker, "__init__", noted)
    monkeypatch.setattr(hosts.Host, "__init__", noted_import)
    return found


def test_the_import_the_judging_the_shrinking_and_the_diagnosis(harness, tmp_path, limits_of_workers, monkeypatch):
    """Memory in each; time in each but a diagnosis, which asks many cases and has its own."""
    monkeypatch.setattr("attention_harness.execution.fuzz.GROUPS", 1)
    path = write(tmp_path / "wrong.py", scores="query @ key.mT")
    limits = ("--memory", "3GiB", "--timeout", "50")
    answer = harness(
        "check", "--load", path, "--fuzz", "1", "--mechanism", "scaled_dot_product", "--jobs", "1", *limits
    )
    assert "smallest of" in answer.err
    assert "DIAGNOSIS wrong" in answer.err
    seconds = [one.seconds for one in limits_of_workers]
    assert {3 * 2**30} == {one.memory for one in limits_of_workers}
    assert ([50.0, 50.0], 120.0) == (seconds[:2], seconds[-1])
    assert len(seconds) > 3
    assert {50.0} == set(seconds[2:-1])


def test_a_replay(harness, tmp_path, limits_of_workers):
    """The import, the case and the diagnosis."""
    path = write(tmp_path / "wrong.py", scores="query @ key.mT")
    command = ("replay", TINY, "--implementation", "wrong", "--check", "accuracy", "--load", path)
    harness(*command, "--memory", "3GiB", "--timeout", "50")
    assert [Limits(50.0, 3 * 2**30), Limits(50.0, 3 * 2**30), Limits(120.0, 3 * 2**30)] == limits_of_workers
