"""Timing on a device, with a stand-in for torch.cuda: what is asked of it, and in which order. No device is needed."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable

import pytest

from attention_harness.benchmark import campaign, timing, worker
from attention_harness.benchmark import timing_cuda as accelerator
from attention_harness.benchmark.cell import combined
from attention_harness.benchmark.workloads import Workload

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
    sample = accelerator.hot(lambda: device.append("call"), {}, 3)

    assert ["synchronize", "hold", "record", "call", "call", "call", "record", "wait for event"] == device
    assert pytest.approx(1e-3) == sample.wall_s
    assert sample.cpu_s != sample.cpu_s  # NaN: the host's CPU time says nothing


def test_cold_times_flush_before_each_single_call(device: list[str]) -> None:
    """A buffer of the cache's size is overwritten first; several calls in a sample would mix cold and hot."""
    cold = accelerator.Cold()
    cold(lambda: device.append("call"), {})

    assert ["buffer of 50 MiB on cuda", "flush", "synchronize", "hold", "record", "call"] == device[:6]
    with pytest.raises(ValueError, match="one call"):
        cold(lambda: None, {}, 2)


def test_what_the_allocator_asked_for_is_counted(device: list[str]) -> None:
    """Segments that were allocated, and retries: both stay still while a warm call is timed."""
    assert (7, 1) == accelerator.allocations()


@pytest.mark.parametrize(("said", "clock"), [("1980\n", 1980.0), ("[N/A]\n", None)])
def test_the_clock_is_the_drivers(monkeypatch: pytest.MonkeyPatch, said: str, clock: float | None) -> None:
    """In MHz; unknown where the driver's tool does not tell, or is not there."""
    monkeypatch.setattr(accelerator.subprocess, "run", lambda *_, **__: types.SimpleNamespace(stdout=said))
    assert clock == accelerator.clock_mhz()

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(accelerator.subprocess, "run", absent)
    assert accelerator.clock_mhz() is None


@pytest.mark.parametrize("asks", [False, True])
def test_cold_times_stand_apart_from_hot_ones(monkeypatch: pytest.MonkeyPatch, asks: bool) -> None:
    """They have rounds of their own and fields of their own, the clock beside them; an allocation is remarked."""
    counts = iter([(1, 0), (2, 0) if asks else (1, 0)])
    monkeypatch.setattr(accelerator, "Cold", lambda: lambda call, tensors, calls: timing.Sample(5e-3, 0.0, 0.0))
    monkeypatch.setattr(accelerator, "allocations", lambda: next(counts))
    monkeypatch.setattr(accelerator, "clock_mhz", lambda: 1980.0)
    cell = campaign.Cell(Workload("w", "made up", CASE), campaign.parse(CASE).on("cuda"), 1, 0.95, arms=["eager"])
    prepared = worker.Prepared.__new__(worker.Prepared)
    prepared.tensors = {}
    arms = {"eager": timing.Arm(lambda: None, 7, False)}
    further = prepared._on_device(arms, {"time_per_arm": 0.0}, random.Random(0), lambda: None)["eager"]
    hot = {"event": "samples", "prepare_s": 0.0, "first_call_s": 0.1, "calls": 7, "peak_bytes": None, "faults": 0.0}
    cell.taken = [{"eager": {**hot, "wall_s": [1e-3] * 15, "cpu_s": [], **further}}] * 2
    [row] = combined(cell, "other")

    assert ((1e-3,) * 15, (5e-3,) * 15, (1980.0,) * 2) == (row.wall_s[0], row.cold_s[0], row.device_mhz)
    assert asks == ("allocator asked the device" in row.reason)
