"""A run that cannot get better stops: what is lost again and again is given up, for that kind of case alone."""

from __future__ import annotations

from types import ModuleType

import pytest

from attention_harness.cases.ids import parse
from attention_harness.execution import pool
from attention_harness.execution.giving_up import IN_A_ROW, GivingUp
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.verdict import Status
from attention_harness.registry import Implementation

HEAD = "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32"


def items(*tails: str, name: str = "mine") -> list[Item]:
    module = ModuleType(name)
    module.prepare = lambda case: None
    module.CAPABILITIES = Capabilities(("scaled_dot_product",), options=("mask", "bias"))
    return list(plan_items([Implementation(name, module, None)], [parse(f"{HEAD}-{tail}") for tail in tails]))


def masked(count: int, first: int = 1) -> list[Item]:
    return items(*(f"mask=full-ordinary-contiguous-draw{n}" for n in range(first, first + count)))


@pytest.mark.parametrize("status", [Status.CRASH, Status.TIMEOUT])
def test_a_kind_is_given_up_and_no_other(status):
    """So many losses in a row under the same options, and not one less; other options go on."""
    giving_up, most = GivingUp(), IN_A_ROW["options", status]
    *first, last, further = masked(most + 1)
    for item in first:
        giving_up.record(item, status)
        assert giving_up.reason(further) == ""
    giving_up.record(last, status)
    reason = f"given up: {most} cases in a row of scaled_dot_product with mask ended in a {status}"
    assert giving_up.reason(further) == reason
    [plain, bias] = items("plain-ordinary-contiguous", "bias=full-ordinary-contiguous")
    [other] = items("mask=full-ordinary-contiguous", name="other")
    assert [giving_up.reason(one) for one in (plain, bias, other)] == ["", "", ""]


def test_an_answer_between_begins_anew():
    """Losses that are not in a row give nothing up."""
    giving_up = GivingUp()
    for item in masked(40):
        giving_up.record(item, Status.CRASH)
        giving_up.record(item, Status.CRASH)
        giving_up.record(item, None)
    assert giving_up.reason(item) == ""


def test_the_rest_is_not_asked(monkeypatch):
    """The verdicts of what is given up are there, say why, and no worker had them."""
    asked = []

    def lost(tasks, **_):
        for place, task in enumerate(tasks):
            asked.append(task)
            yield place, Lost(Status.CRASH, "its process died")

    monkeypatch.setattr(pool, "run_tasks", lost)
    planned = [*masked(10), *items("plain-ordinary-contiguous")]
    found = {item.case.id: verdicts for item, verdicts in PoolRunner().run(planned)}
    assert len(found) == len(planned)
    statuses = [{verdict.status for verdict in found[item.case.id]} for item in planned]
    most = IN_A_ROW["options", Status.CRASH]
    assert statuses == [{Status.CRASH}] * most + [{Status.NOT_ASKED}] * (10 - most) + [{Status.CRASH}]
    assert len(asked) == most + 1


def test_a_run_that_is_stopped_asks_nothing_further(monkeypatch):
    """What is planned after `stopped` is set is not asked, with that reason."""

    def answered(tasks, **_):
        for place, _task in enumerate(tasks):
            runner.stopped = "enough"
            yield place, Lost(Status.TIMEOUT, "no answer")

    monkeypatch.setattr(pool, "run_tasks", answered)
    runner = PoolRunner()
    verdicts = [one for _, found in runner.run(masked(3)) for one in found]
    assert {one.reason for one in verdicts if one.status is Status.NOT_ASKED} == {"enough"}
    assert len({one.case for one in verdicts if one.status is Status.TIMEOUT}) == 1
