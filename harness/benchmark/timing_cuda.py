"""Timing on a CUDA device: events on the current stream, cold and hot apart, the clock of the device beside them.

Written from `BENCHMARKING` section 5, and tested with a stand-in for torch.cuda.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping
from itertools import repeat
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from attention_harness.benchmark.timing import Call, Sample, Tensors, Warmed

BLOCK_S = 100e-6  # events resolve 0.5 us
WARM_CALLS, WARM_S = 3, 25e-3  # the clocks of an accelerator settle more slowly
HOLD_CYCLES = 200_000  # some 100 us for each call: long enough to queue it, so that launching it is not timed
FLUSH_BYTES = 64 << 20  # where the size of the L2 cache is not known


_bound: Any = None


def bind() -> None:
    """Bind what a device is timed by, before an implementation is imported, which may replace it."""
    global _bound
    import torch

    names = ("Event", "synchronize", "_sleep")
    _bound = SimpleNamespace(**{name: getattr(torch.cuda, name, None) for name in names})


def _device() -> Any:
    import torch

    return _bound or torch.cuda


class Cuda:
    """The clock of a CUDA device."""

    def once(self, call: Call, tensors: Tensors) -> float:
        """Return the seconds of one call on the wall, its work on the device included."""
        began = perf_counter()
        call(**tensors)
        _device().synchronize()
        return perf_counter() - began

    def warm(self, call: Call, tensors: Tensors) -> Warmed:
        """Call until it is warm, at least three times and for 25 ms."""
        self.once(call, tensors)
        best, count, began = math.inf, 0, perf_counter()
        while count < WARM_CALLS or perf_counter() - began < WARM_S:
            best, count = min(best, self.sample(call, tensors, 1).wall_s), count + 1
        return Warmed(max(1, math.ceil(BLOCK_S / max(best, 1e-9))))

    def sample(self, call: Call, tensors: Tensors, calls: int) -> Sample:
        """Time some calls one after another: what they read is in the cache when it fits."""
        return _between_events(call, tensors, calls, None)

    def peak_bytes(self, call: Call, tensors: Tensors) -> int | None:
        """Return by how much one call raises the most that torch has allocated."""
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call(**tensors)
        torch.cuda.synchronize()
        peak = int(torch.cuda.max_memory_allocated() - before)
        del result
        return max(peak, 0)


class Cold:
    """Times single calls after the L2 cache was overwritten. Never compare with hot times."""

    def __init__(self) -> None:
        import torch

        size = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "L2_cache_size", FLUSH_BYTES)
        self.buffer = torch.empty(size, dtype=torch.uint8, device="cuda")

    def sample(self, call: Call, tensors: Tensors) -> Sample:
        """Flush, and time one call: a second one would find its data in the cache."""
        return _between_events(call, tensors, 1, self.buffer)


def _between_events(call: Call, tensors: Tensors, calls: int, flush: Any) -> Sample:
    """Flush, wait, hold the stream, record, launch, record, wait: held, so that kernels are timed and not Python."""
    device = _device()
    start, stop = device.Event(enable_timing=True), device.Event(enable_timing=True)
    if flush is not None:
        flush.zero_()
    device.synchronize()
    device._sleep(HOLD_CYCLES * calls)
    start.record()
    for _ in repeat(None, calls):
        call(**tensors)
    stop.record()
    stop.synchronize()
    return Sample(start.elapsed_time(stop) / calls * 1e-3, math.nan, 0.0)


def allocations() -> tuple[int, int]:
    """Return how often the caching allocator asked the device for memory, and had to try again: no sample may add."""
    import torch

    stats: Mapping[str, int] = torch.cuda.memory_stats()
    return stats.get("segment.all.allocated", 0), stats.get("num_alloc_retries", 0)


def clock_mhz() -> float | None:
    """Return the clock of the multiprocessors now, or None where the driver's tool does not tell."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return float(done.stdout.split("\n")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
