"""Purity and the second call: each way to break the contract of a function is accused, and told by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attention_harness.checks import BY_NAME
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution import in_process
from tests.checks.behaviour.made import made, right

WATCHED: list[torch.Tensor] = []


def scaled_in_place(scores, value, visible):
    """Change the caller's tensor."""
    value.mul_(2.0)
    return right(scores, value, visible)


def a_view(scores, value, visible):
    """Return memory of the caller's."""
    return value[..., :1, :].expand(*scores.shape[:-1], value.shape[-1])


def draws(scores, value, visible):
    """Take a number from torch's generator."""
    torch.rand(())
    return right(scores, value, visible)


def more_threads(scores, value, visible):
    """Leave another number of threads."""
    torch.set_num_threads(torch.get_num_threads() + 1)
    return right(scores, value, visible)


@pytest.mark.parametrize(
    ("attend", "reason"),
    [
        (right, ""),
        (scaled_in_place, "the call changed its input value"),
        (a_view, "output lies in the memory of value; expected memory of its own"),
        (draws, "the call changed torch's random state"),
        (more_threads, "the call changed the number of threads"),
    ],
)
def test_purity(attend, reason):
    """What a call leaves behind is named."""
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    try:
        implementation = made(attend)
        assert reason == BY_NAME["purity"].judge(in_process.subject(implementation, anchor(implementation))).reason
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)


def test_a_second_call_answers_for_its_own_inputs():
    """What remembers its first answer, and what writes the next one into it, are told apart."""
    first: list[torch.Tensor] = []

    def remembers(scores, value, visible):
        out = right(scores, value, visible)
        first.append(out)
        same = next((one for one in first if one.shape == out.shape), out)
        return same.clone()

    buffers: dict[tuple[int, ...], torch.Tensor] = {}

    def one_buffer(scores, value, visible):
        out = right(scores, value, visible)
        buffer = buffers.setdefault(tuple(out.shape), torch.empty_like(out))
        return buffer.copy_(out)

    reasons = []
    for attend in (right, remembers, one_buffer):
        implementation = made(attend)
        case = anchor(implementation)
        reasons.append(BY_NAME["second_call"].judge(in_process.subject(implementation, case)).reason)
    assert "" == reasons[0]
    assert reasons[1].startswith("called again with other numbers in the same memory: |error|")
    assert "a later call changed what an earlier call returned" == reasons[2]


def test_a_call_that_differs_in_one_thing_is_answered():
    """What remembers more of an earlier call than it may is told by the one thing that differed."""
    kept: dict[str, torch.Tensor] = {}

    def hidden(scores, value, visible):
        """See what the first call saw, where the values are the same."""
        if visible is not None and torch.equal(kept.setdefault("value", value.clone()), value):
            visible = kept.setdefault("visible", visible)
        return right(scores, value, visible)

    def strides(scores, value, visible):
        """Read every value by the strides of the first one."""
        first = kept.setdefault("strides", value).stride()
        same = value.shape == kept["strides"].shape
        return right(scores, value.as_strided(value.shape, first) if same else value, visible)

    for attend, told in ((hidden, "another mask alone: |error|"), (strides, "another memory layout: |error|")):
        kept.clear()
        implementation = made(attend)
        case = replace(anchor(implementation), options={"mask": "full"})
        reason = BY_NAME["second_call"].judge(in_process.subject(implementation, case)).reason
        assert reason.startswith(f"called again with {told}")


def test_what_changes_later_is_noticed_after_the_last_check_too():
    """A subject that was never called has changed nothing; one whose answer is overwritten says so."""
    implementation = made(lambda scores, value, visible: WATCHED.append(right(scores, value, visible)) or WATCHED[-1])
    subject = in_process.subject(implementation, anchor(implementation))
    assert not subject.changed_later
    assert subject.first.output is not None
    assert not subject.changed_later
    WATCHED[-1].add_(1.0)
    assert subject.changed_later


def test_a_structure_is_prepared_once():
    """Other batch sizes and lengths are answered by what is there; other widths, options and dtypes are prepared."""
    prepared = []
    implementation = made(right)
    prepare = implementation.module.prepare
    implementation.module.prepare = lambda case: prepared.append(case) or prepare(case)
    case = anchor(implementation)
    subject = in_process.subject(implementation, case)
    longer = {**case.sizes, "B": 1, "Lq": 2, "Lk": 9}
    same = [case, type(case)(case.mechanism, longer, case.dtype, case.options)]
    wider = type(case)(case.mechanism, {**case.sizes, "D": 4}, case.dtype, case.options)
    masked = type(case)(case.mechanism, case.sizes, case.dtype, {"mask": "full"})
    for each in (*same, wider, masked, *same, wider):
        subject.prepared_for(each)
    assert [case, wider, masked] == prepared
