"""A replay has the time that a check of the same case has."""

from __future__ import annotations

from dataclasses import replace

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.commands.replay import session as replay
from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_items
from tests.registry.sources import TINY


def test_a_long_case_is_replayed_in_the_time_of_its_check(monkeypatch):
    """The limit, and the allowance of the item beyond it."""
    [item] = plan_items(
        registry.select(["eager"]), [replace(parse(TINY), sizes=parse(TINY).sizes | {"Lq": 4096, "Lk": 4096})]
    )
    assert item.allowance > 0
    given = []

    def gone(self: pool.Worker, *_: object, allowance: float = 0.0) -> None:
        given.append(self.limits.seconds + allowance)
        raise Lost(pool.Status.TIMEOUT, "gone")

    monkeypatch.setattr(pool.Worker, "ask", gone)
    replay.run(item, seconds=10)
    assert [10 + item.allowance] == given
