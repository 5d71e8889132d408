"""Takes every time that is compared: warms arms, and times them in interleaved rounds of random order.

The arms of a cell are called one after another in a new random order each round, so that whatever disturbs the machine
meets all of them alike; blocks of calls to one arm, then to the next, put identical functions 5 % apart in one of six
comparisons (`BENCHMARKING` section 2).
"""

from __future__ import annotations

import ctypes
import gc
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

ROUNDS = 15  # at least, in each pass
BLOCK_S = 0.2e-3  # a sample shorter than this repeats its call: the clocks cost 1 us
DEVICE_BLOCK_S = 100e-6  # events resolve 0.5 us
WARM_CALLS, WARM_S = 3, 20e-3
DEVICE_WARM_S = 25e-3  # clocks of an accelerator settle more slowly
_CROWDED = 8  # on the wall, rounds take at most so many times the time that they are given
OWN_THREADS = 1.25  # process time over thread time from which an arm has threads of its own
WAITS = 0.5  # voluntary switches for one call from which an arm waits
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_PIN_BYTES = 1 << 30

Call = Callable[..., Any]
Tensors = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: seconds for one call on the wall and of this thread (NaN: unknown), minor faults for one call.

    cut  whether the scheduler took the core away meanwhile; giving it away, as sleep does, is not that
    """

    wall_s: float
    cpu_s: float
    faults: float
    cut: bool = False


Sampler = Callable[[Call, Tensors, int], Sample]


@dataclass(frozen=True, slots=True)
class Arm:
    """A callable that is warm, the calls for each sample, whether it keeps to this thread, and whether it waits.

    What waits - sleeps, or leaves work to another process - was not preempted, and CPU time is not the time it takes.
    """

    call: Call
    calls: int
    one_thread: bool
    waits: bool = False


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


def host_sample(call: Call, tensors: Tensors, calls: int) -> Sample:
    """Time some calls on the CPU. The page faults are read outside the clocks."""
    faults, _, forced = _usage()
    cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
    for _ in repeat(None, calls):
        call(**tensors)
    wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
    later, _, since = _usage()
    return Sample(wall / calls * 1e-9, cpu / calls * 1e-9, (later - faults) / calls, since > forced)


def sampler(device: str) -> Sampler:
    """Return the function that takes one sample on a device."""
    if device == "cpu":
        return host_sample
    from attention_harness.benchmark import timing_cuda as accelerator

    return accelerator.hot


def once(call: Call, tensors: Tensors, device: str = "cpu") -> float:
    """Return the seconds that one call takes, its work on the device included."""
    began = time.perf_counter()
    call(**tensors)
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter() - began


def repeated(call: Call, seconds: float, least: int = 5) -> list[Sample]:
    """Return samples of single calls that take no tensors, for so long and at least so many; two warm it first."""
    for _ in range(2):
        call()
    samples: list[Sample] = []
    begin = time.perf_counter()
    while len(samples) < least or time.perf_counter() - begin < seconds:
        samples.append(host_sample(call, {}, 1))
    return samples


def warm(call: Call, tensors: Tensors, device: str = "cpu") -> Arm:
    """Call until it is warm; nothing of it is a sample. The fastest single call sets the calls for each sample."""
    once(call, tensors, device)
    take, on_host, best, count = sampler(device), device == "cpu", math.inf, 0
    long_enough, block = (WARM_S, BLOCK_S) if on_host else (DEVICE_WARM_S, DEVICE_BLOCK_S)
    begin, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
    gave_way = _usage()[1]
    while count < WARM_CALLS or time.perf_counter() - begin < long_enough:
        best, count = min(best, take(call, tensors, 1).wall_s), count + 1
    process, thread = time.process_time() - process, time.thread_time() - thread
    waits = on_host and _usage()[1] - gave_way >= WAITS * count
    return Arm(call, max(1, math.ceil(block / max(best, 1e-9))), on_host and process < OWN_THREADS * thread, waits)


def rounds(
    arms: Mapping[str, Arm],
    tensors: Tensors,
    *,
    time_per_arm: float,
    rng: random.Random,
    take: Sampler = host_sample,
    least: int = ROUNDS,
    beat: Callable[[], Any] = lambda: None,
) -> dict[str, list[Sample]]:
    """Return the samples of every arm, in round order: the same number for each. beat: is called after each round.

    It stops on time and rounds alone. Stopping when a difference looks significant would find one in the end. Where
    each arm keeps to this thread the time is the thread's: on a crowded machine the same second holds fewer calls.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in arms}
    order = list(arms)
    alone = take is host_sample and all(arm.one_thread and not arm.waits for arm in arms.values())
    spent, wall = time.thread_time if alone else time.perf_counter, time.perf_counter
    enough = time_per_arm * len(arms)
    with _no_collection():
        begin, wall_begin, done = spent(), wall(), 0
        while arms and (done < least or (spent() - begin < enough and wall() - wall_begin < _CROWDED * enough)):
            rng.shuffle(order)
            for name in order:
                samples[name].append(take(arms[name].call, tensors, arms[name].calls))
            done += 1
            beat()
    return samples


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def junk(rng: random.Random) -> Sequence[bytearray]:
    """Return buffers of random size: kept alive, they vary where a process lays its data."""
    return [bytearray(rng.randrange(1, 1 << 16)) for _ in range(rng.randrange(64))]


def peak_bytes(call: Callable[[], Any], device: str = "cpu") -> tuple[int | None, str]:
    """Return the memory that one call adds at its peak, its result included, and "" - or None and the reason.

    On the CPU the kernel's own high-water mark, which covers every allocator of the process: right to about 2 MiB.
    What the process freed and kept is handed back first, since using it again would look like no memory at all.
    Collect garbage before: with torch loaded that takes longer than all the rest.
    """
    if device != "cpu":
        return _device_peak(call), ""
    if not sys.platform.startswith("linux"):
        return None, "peak memory needs Linux: the resettable high-water mark of /proc"
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError) as error:
        return None, f"peak memory: the high-water mark cannot be reset: {error}"
    before = _status_bytes("VmRSS")
    result = call()
    peak = _status_bytes("VmHWM") - before
    del result
    return max(peak, 0), ""


def _device_peak(call: Callable[[], Any]) -> int:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    del result
    return max(peak, 0)


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
