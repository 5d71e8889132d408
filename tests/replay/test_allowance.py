"""A replay has the time that a check of the same case has."""

from __future__ import annotations

from dataclasses import replace

from harness import conformance, execution, registry, replay
from harness.cases import parse
from tests.registry.sources import TINY


def test_a_long_case_is_replayed_in_the_time_of_its_check(monkeypatch):
    """The limit, and the allowance of the item beyond it."""
    [item] = conformance.plan(
        registry.select(["eager"]), [replace(parse(TINY), sizes=parse(TINY).sizes | {"Lq": 4096, "Lk": 4096})]
    )
    assert item.allowance > 0
    given = []

    def gone(self: execution.Worker, *_: object, allowance: float = 0.0) -> None:
        given.append(self.limits.seconds + allowance)
        raise execution.Lost(execution.Status.TIMEOUT, "gone")

    monkeypatch.setattr(execution.Worker, "ask", gone)
    replay.run(item, seconds=10)
    assert [10 + item.allowance] == given
