"""The memory of one process: its limit, what says that it ran out, and pages that must not be touched.

The limit is `RLIMIT_DATA`: it counts private writable memory, so what a library only reserves is free. Measured: it
stops Python, NumPy, torch, malloc and private maps alike, each with an error that names memory. Shared memory and child
processes are not in it; `execution.processes.resident` counts those.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import re
import sys

import psutil

from attention_harness.model import units

UNLIMITED = sys.maxsize
GUARDED = "is_guarded"
"""The attribute of a tensor that ends where memory ends: it does so in whatever process it is sent to."""

_MEMORY = re.compile(
    r"[Cc]an(?:no|')t allocate memory|std::bad_alloc|bad allocation|[Ff]ailed to allocate memory|out of memory|"
    r"Unable to allocate|^MemoryError"
)

_limit = UNLIMITED  # of this process


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


def private_memory(pid: int | None = None) -> int:
    """Return the bytes of private writable memory of a process, this one by default; 0 where it is not known."""
    with contextlib.suppress(psutil.Error):
        return int(getattr(psutil.Process(pid).memory_info(), "data", 0))
    return 0


def out_of_memory(reason: str, limit: int | None = None) -> str:
    """Return the reason of a failure, with `out of memory: ` and the limit where memory ran out.

    limit: this process's own by default
    """
    if not _MEMORY.search(reason):
        return reason
    limit = _limit if limit is None else limit
    return f"out of memory: {reason}" + (f"; its limit is {units.size(limit)}" if limit < UNLIMITED else "")


def guard(memory: mmap.mmap, offset: int) -> None:
    """Make the page of a map that begins there one that nobody may read or write: to touch it is a crash."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = address(memory) + offset
    if libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(mmap.PAGESIZE), 0):
        raise OSError(ctypes.get_errno(), "mprotect refused to guard a page")


def address(memory: mmap.mmap) -> int:
    """Return where a map begins. It stays there as long as something refers to the map."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def pages(size: int) -> int:
    """Return the bytes of the whole pages that so many bytes need."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
