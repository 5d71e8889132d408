"""The loop that takes samples: what it does, not how long it takes."""

from __future__ import annotations

import gc
import itertools
import random
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import pytest

from attention_harness.benchmark import timing
from attention_harness.benchmark.timing import Arm, Sample


def fake_sampler(seen: list[str]) -> timing.Sampler:
    """Return a sampler that calls once and notes it instead of reading a clock."""

    def take(call: timing.Call, tensors: timing.Tensors, calls: int) -> Sample:
        seen.append(call(**tensors))
        return Sample(1.0 * calls, 1.0, 0.0)

    return take


def named(*names: str, calls: int = 1) -> dict[str, Arm]:
    """Return arms whose call returns their name."""
    return {name: Arm(lambda name=name: name, calls, True) for name in names}


def test_every_round_calls_every_arm_once() -> None:
    """The arms of a round are a permutation, and the permutations differ."""
    seen: list[str] = []
    timing.rounds(named("a", "b", "c"), {}, time_per_arm=0, rng=random.Random(0), take=fake_sampler(seen), least=40)
    orders = [tuple(seen[i : i + 3]) for i in range(0, len(seen), 3)]

    assert len(orders) == 40
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len(set(orders)) == 6


def test_the_order_depends_on_the_seed_alone() -> None:
    """The same seed gives the same order; another gives another."""

    def order(seed: int) -> list[str]:
        seen: list[str] = []
        take = fake_sampler(seen)
        timing.rounds(named("a", "b", "c"), {}, time_per_arm=0, rng=random.Random(seed), take=take, least=10)
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_every_arm_has_a_sample_of_every_round() -> None:
    """Samples are aligned by round, so that they can be paired; there are at least 15."""
    found = timing.rounds(named("a", "b"), {}, time_per_arm=0, rng=random.Random(0), take=fake_sampler([]))

    assert {name: len(samples) for name, samples in found.items()} == {"a": timing.ROUNDS, "b": timing.ROUNDS}


def test_rounds_go_on_until_the_time_is_used() -> None:
    """A time above what 15 rounds take gives more rounds; no arms end at once."""
    found = timing.rounds(named("a"), {}, time_per_arm=0.02, rng=random.Random(0))

    assert len(found["a"]) > timing.ROUNDS
    assert timing.rounds({}, {}, time_per_arm=1e9, rng=random.Random(0)) == {}


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_not_collected_while_timing(enabled: bool) -> None:
    """The collector is off during rounds and afterwards as it was before."""
    states: list[bool] = []
    arm = {"a": Arm(lambda: states.append(gc.isenabled()), 1, True)}
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        timing.rounds(arm, {}, time_per_arm=0, rng=random.Random(0))
        assert {False} == set(states)
        assert enabled == gc.isenabled()
    finally:
        (gc.enable if was else gc.disable)()


def test_a_sample_makes_the_calls_it_is_told_to() -> None:
    """The tensors arrive by name, once for each call, and the times are positive and for one call."""
    seen: list[Any] = []
    sample = timing.host_sample(lambda query: seen.append(query), {"query": 7}, 5)

    assert seen == [7] * 5
    assert sample.wall_s > 0
    assert sample.cpu_s >= 0


def test_warming_calls_at_least_three_times_more() -> None:
    """Slow calls are warmed by few, fast ones by many; a fast one repeats within a sample, a slow one does not."""
    count = 0

    def slow() -> None:
        nonlocal count
        count += 1
        time.sleep(0.03)

    assert timing.warm(slow, {}).calls == 1
    assert count == 1 + timing.WARM_CALLS
    assert timing.warm(lambda: None, {}).calls > 1


def test_a_call_with_threads_of_its_own_is_noticed() -> None:
    """CPU time that another thread spends does not belong to this one: it would look fast."""
    hashlib = pytest.importorskip("hashlib")
    from concurrent.futures import ThreadPoolExecutor

    def burn() -> None:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 20000)  # gives up the interpreter lock

    with ThreadPoolExecutor(1) as pool:
        assert not timing.warm(lambda: pool.submit(burn).result(), {}).one_thread
    assert timing.warm(burn, {}).one_thread


MIB = 1 << 20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resettable high-water mark is Linux's")


@linux
def test_the_peak_is_what_one_call_adds() -> None:
    """64 MiB held inside the call are seen, whether kept in the result or freed before it returns."""
    for call in (lambda: b"x" * (64 * MIB), lambda: len(b"x" * (64 * MIB))):
        peak, reason = timing.peak_bytes(call)
        assert reason == ""
        assert 60 * MIB < (peak or 0) < 72 * MIB


@linux
def test_memory_that_was_freed_and_kept_is_not_overlooked() -> None:
    """With the allocator pinned a freed block stays in the process; using it again still counts."""
    timing.pin_allocator()
    for _ in range(3):
        blocks = [b"x" * MIB for _ in range(64)]
        del blocks
        peak, _ = timing.peak_bytes(lambda: [b"x" * MIB for _ in range(64)])
        assert 60 * MIB < (peak or 0) < 72 * MIB


@linux
def test_an_earlier_peak_does_not_hide_a_later_one() -> None:
    """The mark is reset: a small call after a large one shows little."""
    timing.peak_bytes(lambda: b"x" * (64 * MIB))
    peak, _ = timing.peak_bytes(lambda: None)

    assert (peak or 0) < 16 * MIB


def test_without_the_kernels_mark_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux the peak is unknown, not zero."""
    monkeypatch.setattr(sys, "platform", "darwin")

    peak, reason = timing.peak_bytes(lambda: None)
    assert peak is None
    assert "Linux" in reason


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for torch with a device that notes what it is asked: 3 ms pass between two events."""
    log: list[str] = []

    def noting(what: str) -> Callable[..., None]:
        return lambda *_, **__: log.append(what)

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.record, self.synchronize = noting("record"), noting("wait for event")

        def elapsed_time(self, other: object) -> float:
            return 3.0

    cuda = types.SimpleNamespace(Event=Event, synchronize=noting("synchronize"), _sleep=noting("hold"))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    return log


def test_an_arm_that_gives_its_core_away_waits() -> None:
    """Sleeping is told from working by the switches that the thread asked for; being preempted is none of them."""
    assert timing.warm(lambda: time.sleep(1e-4), {}).waits
    assert not timing.warm(lambda: sum(range(20000)), {}).waits


def test_a_single_call_on_a_device_is_waited_for(device: list[str]) -> None:
    """The first call's time includes the device's work."""
    timing.once(lambda: device.append("call"), {}, "cuda")

    assert device == ["call", "synchronize"]


@pytest.mark.parametrize(("rounds", "waits"), [(10, False), (2, True)])
def test_rounds_are_counted_in_cpu_time_unless_an_arm_waits(monkeypatch, rounds, waits):
    """On a crowded machine a second of the thread holds as many calls as ever; what sleeps has the wall's second."""
    ticks = {"thread_time": 0.1, "perf_counter": 0.5}  # seconds that pass between two readings
    for name, step in ticks.items():
        readings = itertools.count(step=step)
        monkeypatch.setattr(timing.time, name, lambda readings=readings: next(readings))
    found = timing.rounds(
        {"a": timing.Arm(lambda: None, 1, True, waits)}, {}, time_per_arm=1.0, rng=random.Random(0), least=1
    )
    assert rounds - 1 <= len(found["a"]) <= rounds + 1


def test_a_crowd_does_not_stretch_rounds_forever(monkeypatch):
    """A thread that gets hardly any time ends after eight times its share on the wall."""
    for name, step in {"thread_time": 1e-9, "perf_counter": 1.0}.items():
        readings = itertools.count(step=step)
        monkeypatch.setattr(timing.time, name, lambda readings=readings: next(readings))
    arm = {"a": timing.Arm(lambda: None, 1, True)}
    assert 8 == len(timing.rounds(arm, {}, time_per_arm=1.0, rng=random.Random(0), least=1)["a"])
