"""The clock of the CPU: what a sample holds, what warming notices, and what a peak is."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from attention_harness.benchmark import timing_host
from attention_harness.benchmark.timing_host import Host

HOST = Host()


def test_a_sample_makes_the_calls_it_is_told_to() -> None:
    """The tensors arrive by name, once for each call, and the times are positive and for one call."""
    seen: list[Any] = []
    sample = HOST.sample(lambda query: seen.append(query), {"query": 7}, 5)

    assert seen == [7] * 5
    assert sample.wall_s > 0
    assert sample.cpu_s >= 0


@pytest.mark.parametrize(("before", "after", "cut"), [((10, 0, 3), (30, 0, 4), True), ((10, 5, 3), (30, 9, 3), False)])
def test_a_sample_notes_faults_and_preemption(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, ...], after: tuple[int, ...], cut: bool
) -> None:
    """20 faults in five calls; a switch that was forced is a preemption, one that the call asked for is none."""
    readings = iter([before, after])
    monkeypatch.setattr(timing_host, "_usage", lambda: next(readings))
    sample = HOST.sample(lambda: None, {}, 5)

    assert (4.0, cut) == (sample.faults, sample.cut)


def test_warming_calls_at_least_three_times_more() -> None:
    """Slow calls are warmed by few, fast ones by many; a fast one repeats within a sample, a slow one does not."""
    count = 0

    def slow() -> None:
        nonlocal count
        count += 1
        time.sleep(0.03)

    assert HOST.warm(slow, {}).calls == 1
    assert count == 1 + timing_host.WARM_CALLS
    assert HOST.warm(lambda: None, {}).calls > 1


def test_a_call_with_threads_of_its_own_is_noticed() -> None:
    """CPU time that another thread spends does not belong to this one: it would look fast."""
    hashlib = pytest.importorskip("hashlib")
    from concurrent.futures import ThreadPoolExecutor

    def burn() -> None:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 20000)  # gives up the interpreter lock

    with ThreadPoolExecutor(1) as pool:
        assert not HOST.warm(lambda: pool.submit(burn).result(), {}).one_thread
    assert HOST.warm(burn, {}).one_thread


MIB = 1 << 20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resettable high-water mark is Linux's")


@linux
def test_the_peak_is_what_one_call_adds() -> None:
    """64 MiB held inside the call are seen, whether kept in the result or freed before it returns."""
    for call in (lambda: b"x" * (64 * MIB), lambda: len(b"x" * (64 * MIB))):
        peak = HOST.peak_bytes(call, {})
        assert 60 * MIB < (peak or 0) < 72 * MIB


@linux
def test_memory_that_was_freed_and_kept_is_not_overlooked() -> None:
    """With the allocator pinned a freed block stays in the process; using it again still counts."""
    timing_host.pin_allocator()
    for _ in range(3):
        blocks = [b"x" * MIB for _ in range(64)]
        del blocks
        peak = HOST.peak_bytes(lambda: [b"x" * MIB for _ in range(64)], {})
        assert 60 * MIB < (peak or 0) < 72 * MIB


@linux
def test_an_earlier_peak_does_not_hide_a_later_one() -> None:
    """The mark is reset: a small call after a large one shows little."""
    HOST.peak_bytes(lambda: b"x" * (64 * MIB), {})
    peak = HOST.peak_bytes(lambda: None, {})

    assert (peak or 0) < 16 * MIB


def test_without_the_kernels_mark_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux it is not zero."""
    monkeypatch.setattr(sys, "platform", "darwin")

    assert HOST.peak_bytes(lambda: None, {}) is None


def test_an_arm_that_gives_its_core_away_waits() -> None:
    """Sleeping is told from working by the switches that the thread asked for; being preempted is none of them."""
    assert HOST.warm(lambda: time.sleep(1e-4), {}).waits
    assert not HOST.warm(lambda: sum(range(20000)), {}).waits
