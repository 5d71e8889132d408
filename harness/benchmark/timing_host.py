"""Timing on the CPU: wall and thread time of a call, page faults and preemptions beside them, peak memory."""

from __future__ import annotations

import ctypes
import math
import sys
from itertools import repeat
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time, thread_time, thread_time_ns  # bound before an arm

from attention_harness.benchmark.timing import Call, Sample, Tensors, Warmed

BLOCK_S = 0.2e-3  # a sample shorter than this repeats its call: the clocks cost 1 us
WARM_CALLS, WARM_S = 3, 20e-3
OWN_THREADS = 1.25  # process time over thread time from which an arm has threads of its own
WAITS = 0.5  # voluntary switches for one call from which an arm waits
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_PIN_BYTES = 1 << 30


class Host:
    """The clock of the CPU."""

    def once(self, call: Call, tensors: Tensors) -> float:
        """Return the seconds of one call on the wall."""
        began = perf_counter()
        call(**tensors)
        return perf_counter() - began

    def warm(self, call: Call, tensors: Tensors) -> Warmed:
        """Call until it is warm, at least three times and for 20 ms."""
        self.once(call, tensors)
        best, count = math.inf, 0
        began, process, thread = perf_counter(), process_time(), thread_time()
        gave_way = _usage()[1]
        while count < WARM_CALLS or perf_counter() - began < WARM_S:
            best, count = min(best, self.sample(call, tensors, 1).wall_s), count + 1
        process, thread = process_time() - process, thread_time() - thread
        waits = _usage()[1] - gave_way >= WAITS * count
        return Warmed(max(1, math.ceil(BLOCK_S / max(best, 1e-9))), process < OWN_THREADS * thread, waits)

    def sample(self, call: Call, tensors: Tensors, calls: int) -> Sample:
        """Time some calls. The page faults are read outside the clocks."""
        faults, _, forced = _usage()
        cpu, wall = thread_time_ns(), perf_counter_ns()
        for _ in repeat(None, calls):
            call(**tensors)
        wall, cpu = perf_counter_ns() - wall, thread_time_ns() - cpu
        later, _, since = _usage()
        return Sample(wall / calls * 1e-9, cpu / calls * 1e-9, (later - faults) / calls, since > forced)

    def peak_bytes(self, call: Call, tensors: Tensors) -> int | None:
        """Return by how much one call raises the kernel's high-water mark; None where that cannot be reset.

        It covers every allocator of the process, and is right to about 2 MiB. What the process freed and kept is handed
        back first, since using it again would look like no memory at all. Collect garbage before: with torch loaded
        that takes longer than all the rest.
        """
        if not sys.platform.startswith("linux"):
            return None
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        except (AttributeError, OSError):
            return None
        before = _status_bytes("VmRSS")
        result = call(**tensors)
        peak = _status_bytes("VmHWM") - before
        del result
        return max(peak, 0)


def repeated(call: Call, seconds: float, least: int = 5) -> list[Sample]:
    """Return samples of single calls that take no tensors, for so long and at least so many; two warm it first."""
    host = Host()
    for _ in range(2):
        call()
    samples: list[Sample] = []
    began = perf_counter()
    while len(samples) < least or perf_counter() - began < seconds:
        samples.append(host.sample(call, {}, 1))
    return samples


def pin_allocator() -> bool:
    """Fix glibc's allocator thresholds; they otherwise move with what the process freed before. True if it worked.

    An unrelated large allocation earlier in a process made the same call 1.7 times slower: 6,000 page faults each time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _PIN_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _PIN_BYTES))


def _usage() -> tuple[int, int, int]:
    """Return this thread's minor faults, switches that it asked for, and switches that were forced on it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0, 0, 0
    used = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    return used.ru_minflt, used.ru_nvcsw, used.ru_nivcsw


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
