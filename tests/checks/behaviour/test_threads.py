"""Calls that overlap: what shares a buffer is found, what does not is not, and a declaration ends it."""

from __future__ import annotations

import sys
import threading

import pytest
import torch

from attention_harness.model.errors import ImplementationRaised
from tests.checks.behaviour import made as m

BUFFERS: dict[str, torch.Tensor] = {}


def shared(scores, value, visible):
    """Let the scores wait in memory of the kernel's."""
    BUFFERS["scores"] = scores
    rows = scores.shape[-2] * value.shape[-2] + 0  # a step in between, as any kernel has
    assert torch.zeros(()).item() <= rows
    return m.right(BUFFERS["scores"], value, visible)


def test_calls_that_share_a_buffer_are_found():
    """They mix, or raise for the other's shape; the default declaration is that they may overlap."""
    judged = m.ask("thread_safety", m.made(shared))
    assert judged.finding.startswith("overlapping calls ")
    assert "thread_safe" == judged.declared
    assert judged.reason
    honest = m.ask("thread_safety", m.made(shared, thread_safe=False))
    assert ("", "no claim") == (honest.reason, honest.declared)


def test_calls_that_share_a_buffer_of_one_shape_differ():
    """Where longer lengths are refused nothing is raised: the numbers of one call stand in the answer of another."""
    judged = m.ask("thread_safety", m.made(shared, requires=("Lq <= 5",)))
    assert ("overlapping calls differ", True) == (judged.finding, bool(judged.reason))


@pytest.mark.parametrize("attend", [m.right, m.noisy, m.by_batch])
def test_calls_that_share_nothing_are_not_accused(attend):
    """Nor what promises no bits; and nothing of the threads is left."""
    threads, interval = threading.active_count(), sys.getswitchinterval()
    judged = m.ask("thread_safety", m.made(attend))
    assert ("as one after the other", "") == (judged.finding, judged.reason)
    assert (threads, interval) == (threading.active_count(), sys.getswitchinterval())


def test_compiled_calls_that_share_nothing_are_not_accused():
    """torch.compile compiles the frames below its own: those of the harness, which pauses there, are none of them."""
    judged = m.ask("thread_safety", m.made(torch.compile(m.right, fullgraph=True, dynamic=True), builds=True))
    assert ("as one after the other", "") == (judged.finding, judged.reason)


def test_what_differs_call_by_call_is_not_a_matter_of_threads():
    """Noise beyond the error bound fails accuracy."""
    judged = m.ask("thread_safety", m.made(lambda *given: m.right(*given) + torch.rand(())))
    assert ("not measured: calls one after the other differ", "") == (judged.finding, judged.reason)


def test_an_error_of_a_call_alone_is_one():
    """It is the implementation's error and no finding about threads."""
    with pytest.raises(ImplementationRaised, match="ZeroDivisionError"):
        m.ask("thread_safety", m.made(lambda *given: 1 // 0))
