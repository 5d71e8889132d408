"""What one task may take: time, and memory beyond what a fresh worker has.

The limit on memory is `RLIMIT_DATA`: it counts private writable memory, so what a
library only reserves is free. Measured: it stops Python, NumPy, torch, malloc and private maps alike, each with an
error that names memory. Shared memory and child processes are not in it; `processes.resident` counts those.
"""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from attention_harness.execution.machine import memory_bytes
from attention_harness.model import units

ITEM_SECONDS = 300.0
"""Time limit of one implementation on one case, all checks together; a cold compilation takes up to a minute."""
UNLIMITED = sys.maxsize
FRESH_MEMORY = 2**29
"""Bytes that a fresh process with torch has, at most."""
_LEAST = 2 * 2**30  # bytes that a worker may take at least, unless the user says less
_PART = 0.8  # of the machine's memory, for all workers together
_CGROUP = Path("/sys/fs/cgroup/memory.max")

_MEMORY = re.compile(
    r"[Cc]an(?:no|')t allocate memory|std::bad_alloc|bad allocation|[Ff]ailed to allocate memory|out of memory|"
    r"Unable to allocate|^MemoryError"
)

_limit = UNLIMITED  # of this process


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one task. memory: bytes beyond what a fresh worker has; 0 for a part of the machine's."""

    seconds: float = ITEM_SECONDS
    memory: int = 0

    def divided(self, jobs: int) -> Limits:
        """Return the limits of each of so many workers: with its part of the machine's memory, where none is named."""
        return self if self.memory else replace(self, memory=memory_per_worker(jobs))


DEFAULT_LIMITS = Limits()


def memory_per_worker(jobs: int) -> int:
    """Return the bytes that each of so many workers may take: together 80 % of the machine's memory, 2 GiB at least."""
    total = memory_bytes()
    with contextlib.suppress(OSError, ValueError):  # "max", or no such file
        total = min(total, int(_CGROUP.read_text()))
    return max(_LEAST, int(_PART * total / jobs))


def limit_memory(bytes_more: int) -> None:
    """Let this process take so many bytes more than it has, and write no core file."""
    global _limit
    with contextlib.suppress(ImportError, OSError, ValueError):  # not POSIX
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if bytes_more < UNLIMITED:
            ceiling = private_memory() + bytes_more
            resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
            _limit = bytes_more


def private_memory() -> int:
    """Return the bytes of private writable memory of this process, which the limit counts; 0 where it is not known."""
    return int(getattr(psutil.Process().memory_info(), "data", 0))


def out_of_memory(reason: str, limit: int | None = None) -> str:
    """Return the reason of a failure, with `out of memory: ` and the limit where memory ran out.

    limit: this process's own by default
    """
    if not _MEMORY.search(reason):
        return reason
    limit = _limit if limit is None else limit
    return f"out of memory: {reason}" + (f"; its limit is {units.size(limit)}" if limit < UNLIMITED else "")
