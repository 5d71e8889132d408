"""What one task may take: time, and memory beyond what a fresh worker has."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from attention_harness.execution.machine import memory_bytes

ITEM_SECONDS = 300.0
"""Time limit of one implementation on one case, all checks together; a cold compilation takes up to a minute."""
FRESH_MEMORY = 2**29
"""Bytes that a fresh process with torch has, at most."""
_LEAST = 2 * 2**30  # bytes that a worker may take at least, unless the user says less
_PART = 0.8  # of the machine's memory, for all workers together
_CGROUP = Path("/sys/fs/cgroup/memory.max")


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
