"""Timing on a device, with a stand-in for torch.cuda: what is asked of it, and in which order. No device is needed."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable

import pytest

from attention_harness.benchmark import timing_cuda, worker
from attention_harness.benchmark.arms import Arm
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.timing import Sample, Warmed
from attention_harness.benchmark.timing_cuda import Cold, Cuda
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from tests.benchmark.made import sampled

CASE = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"


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

    cuda = types.SimpleNamespace(
        Event=Event,
        synchronize=noting("synchronize"),
        _sleep=noting("hold"),
        current_device=lambda: 0,
        get_device_properties=lambda index: types.SimpleNamespace(L2_cache_size=50 << 20),
        memory_stats=lambda: {"segment.all.allocated": 7, "num_alloc_retries": 1},
    )

    def empty(size: int, dtype: object, device: str) -> types.SimpleNamespace:
        log.append(f"buffer of {size >> 20} MiB on {device}")
        return types.SimpleNamespace(zero_=noting("flush"))

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda, empty=empty, uint8=None))
    return log


def test_a_device_is_timed_by_events(device: list[str]) -> None:
    """Earlier work is waited for, the stream is held until the calls are queued, and events enclose them."""
    sample = Cuda().sample(lambda: device.append("call"), {}, 3)

    assert ["synchronize", "hold", "record", "call", "call", "call", "record", "wait for event"] == device
    assert pytest.approx(1e-3) == sample.wall_s
    assert sample.cpu_s != sample.cpu_s  # NaN: the host's CPU time says nothing


def test_cold_times_flush_before_each_single_call(device: list[str]) -> None:
    """A buffer of the cache's size is overwritten first, and one call follows: a second one would be hot."""
    Cold().sample(lambda: device.append("call"), {})

    assert ["buffer of 50 MiB on cuda", "flush", "synchronize", "hold", "record", "call"] == device[:6]


def test_what_the_allocator_asked_for_is_counted(device: list[str]) -> None:
    """Segments that were allocated, and retries: both stay still while a warm call is timed."""
    assert (7, 1) == timing_cuda.allocations()


@pytest.mark.parametrize(("said", "clock"), [("1980\n", 1980.0), ("[N/A]\n", None)])
def test_the_clock_is_the_drivers(monkeypatch: pytest.MonkeyPatch, said: str, clock: float | None) -> None:
    """In MHz; unknown where the driver's tool does not tell, or is not there."""
    monkeypatch.setattr(timing_cuda.subprocess, "run", lambda *_, **__: types.SimpleNamespace(stdout=said))
    assert clock == timing_cuda.clock_mhz()

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(timing_cuda.subprocess, "run", absent)
    assert timing_cuda.clock_mhz() is None


def test_a_single_call_is_waited_for(device: list[str]) -> None:
    """The first call's time includes the device's work."""
    Cuda().once(lambda: device.append("call"), {})

    assert device == ["call", "synchronize"]


def test_a_short_call_repeats_within_a_sample(device: list[str]) -> None:
    """3 ms between two events are long enough; nothing says that one thread of the host does the work."""
    assert Warmed(calls=1, one_thread=False, waits=False) == Cuda().warm(lambda: None, {})
    assert device.count("record") >= 2 * timing_cuda.WARM_CALLS


@pytest.mark.parametrize("asks", [False, True])
def test_cold_times_stand_apart_from_hot_ones(monkeypatch: pytest.MonkeyPatch, asks: bool) -> None:
    """They have rounds of their own and fields of their own, the clock beside them; an allocation is remarked."""
    counts = iter([(1, 0), (2, 0) if asks else (1, 0)])
    monkeypatch.setattr(timing_cuda, "allocations", lambda: next(counts))
    monkeypatch.setattr(timing_cuda, "clock_mhz", lambda: 1980.0)
    monkeypatch.setattr(Arm, "cold_sample", lambda arm: Sample(5e-3, 0.0, 0.0))
    arm = Arm.__new__(Arm)
    arm.warmed = Warmed(7)
    further = worker._on_device({"eager": arm}, {"time_per_arm": 0.0, "rng": random.Random(0)})["eager"]
    cell = Cell(Workload("w", "made up", CASE), parse(CASE).on("cuda"), 1, 0.95, arms=["eager"])
    for _ in range(2):
        cell.add_pass([sampled(cell.id, "eager", 1e-3, cpu_s=(), **further)])
    [row] = cell.measurements("other")

    assert ((1e-3,) * 15, (5e-3,) * 15, (1980.0,) * 2) == (row.wall_s[0], row.cold_s[0], row.device_mhz)
    assert asks == ("allocator asked the device" in row.reason)
