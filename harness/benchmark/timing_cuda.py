"""Timing on a CUDA device: events on the current stream, cold and hot apart, the clock of the device beside them.

Not run on a device yet: written from `BENCHMARKING` section 5, and tested with a stand-in for torch.cuda.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping
from itertools import repeat
from typing import Any

from attention_harness.benchmark.timing import Call, Sample, Tensors

HOLD_CYCLES = 200_000  # some 100 us for each call: long enough to queue it, so that launching it is not timed
FLUSH_BYTES = 64 << 20  # where the size of the L2 cache is not known


def hot(call: Call, tensors: Tensors, calls: int) -> Sample:
    """Time some calls one after another: what they read is in the cache when it fits."""
    return _between_events(call, tensors, calls, None)


class Cold:
    """Times single calls after the L2 cache was overwritten. Never compare with hot times."""

    def __init__(self) -> None:
        import torch

        size = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "L2_cache_size", FLUSH_BYTES)
        self.buffer = torch.empty(size, dtype=torch.uint8, device="cuda")

    def __call__(self, call: Call, tensors: Tensors, calls: int = 1) -> Sample:
        if calls != 1:
            raise ValueError(f"cold times need one call for each sample, got {calls}")
        return _between_events(call, tensors, 1, self.buffer)


def _between_events(call: Call, tensors: Tensors, calls: int, flush: Any) -> Sample:
    """Flush, wait, hold the stream, record, launch, record, wait: held, so that kernels are timed and not Python."""
    import torch

    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    if flush is not None:
        flush.zero_()
    torch.cuda.synchronize()
    torch.cuda._sleep(HOLD_CYCLES * calls)
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
