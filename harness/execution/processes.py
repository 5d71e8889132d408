"""The processes of workers: what each may take, and that nothing of them is left. Linux; elsewhere what POSIX gives.

The limit on memory is `RLIMIT_DATA`: it counts private writable memory, so what a library only reserves is free.
Measured: it stops Python, NumPy, torch, malloc and private maps alike, each with an error that names memory. Shared
memory and what child processes hold are not in it; `resident` counts those.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attention_harness.model import units

UNLIMITED = sys.maxsize
_LEAST = 2 * 2**30  # bytes that a worker may take at least, unless the user says less
_SHARE = 0.8  # of the machine's memory, for all workers together
FRESH = 2**29  # bytes that a fresh worker has in memory, at most; most of them are torch's, and shared
_LEFT = 256  # no process can end with this status, so it stands for 0
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 1, 36, 37  # linux/prctl.h
_CGROUP = Path("/sys/fs/cgroup/memory.max")

_MEMORY = re.compile(
    r"[Cc]an(?:no|')t allocate memory|std::bad_alloc|bad allocation|[Ff]ailed to allocate memory|out of memory|"
    r"Unable to allocate|^MemoryError"
)

_limit = UNLIMITED  # of this process
_guard = threading.Lock()  # between the start of a worker and its being known
_workers: set[int] = set()


class _Process(multiprocessing.context.ForkServerProcess):
    """A worker's process as pebble sees it. One that ends with status 0 unasked has died like any other."""

    def start(self) -> None:
        with _guard:
            super().start()
            if self.pid:
                _workers.add(self.pid)

    @property
    def exitcode(self) -> int | None:
        """As `Process.exitcode`, but never 0: pebble would take that for an orderly end and wait for an answer."""
        code = super().exitcode
        return _LEFT if code == 0 else code

    def terminate(self) -> None:
        """End it and its process group at once: it may be deaf to anything softer."""
        if self.pid and super().exitcode is None:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            super().kill()


class Context(multiprocessing.context.ForkServerContext):
    """Starts a worker from a fork server that has torch and adopts what workers leave behind."""

    def __init__(self) -> None:
        super().__init__()
        self.set_forkserver_preload(["torch", "attention_harness.execution.forkserver"])
        self._started: list[_Process] = []

    def Process(self, *arguments: Any, **keywords: Any) -> _Process:  # type: ignore[override]
        """Return a process that is not started yet, as pebble asks for it."""
        self._started.append(_Process(*arguments, **keywords))
        return self._started[-1]

    @property
    def pid(self) -> int | None:
        """The last one that was started."""
        return self._started[-1].pid if self._started else None

    def forget(self) -> None:
        """End what its workers, which have ended, left behind."""
        with _guard:
            for one in self._started:
                if one.pid is not None:
                    _workers.discard(one.pid)
                    with contextlib.suppress(OSError):
                        os.killpg(one.pid, signal.SIGKILL)
            self._started.clear()
            server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            if server:
                _end(lambda: [one for child in _children(server) - _workers for one in (child, *_below(child))])


def died_of(exitcode: Any) -> str:
    """Return how a process ended: its signal's name, or its exit status."""
    if isinstance(exitcode, int) and exitcode < 0:
        try:
            return f"its process died: {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"its process died: signal {-exitcode}"
    return "its process ended with exit status 0" if exitcode == _LEFT else f"its process died: exit status {exitcode}"


# --- in a worker


def lead() -> None:
    """Make this process the head of its own: of a session, of what its children leave; it dies with its parent."""
    with contextlib.suppress(OSError):
        os.setsid()
    adopt()
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    held = multiprocessing.forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if held is not None:  # while a worker holds this end too, the fork server does not see the harness end
        with contextlib.suppress(OSError):
            os.close(held)


def adopt() -> None:
    """Make this process the parent of every descendant that loses its own."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def limit_memory(allowed: int) -> None:
    """Let this process take so many bytes more than it has, and write no core file."""
    global _limit
    with contextlib.suppress(ImportError, OSError, ValueError):  # not POSIX
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if allowed < UNLIMITED:
            ceiling = held() + allowed
            resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
            _limit = allowed


def out_of_memory(told: str, limit: int | None = None) -> str:
    """Return what is told of a failure, with `out of memory: ` and the limit where it was that."""
    if not _MEMORY.search(told):
        return told
    limit = _limit if limit is None else limit
    return f"out of memory: {told}" + (f"; its limit is {units.size(limit)}" if limit < UNLIMITED else "")


def below() -> list[int]:
    """Return the processes below this one."""
    return list(_below(os.getpid()))


def held() -> int:
    """Return the bytes of private writable memory that this process has: what the limit counts."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


# --- in the harness


def memory_share(jobs: int) -> int:
    """Return the bytes that each of so many workers may take: together 80 % of the machine's memory, 2 GiB at least."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return UNLIMITED
    with contextlib.suppress(OSError, ValueError):  # "max", or no such file
        total = min(total, int(_CGROUP.read_text()))
    return max(_LEAST, int(_SHARE * total / jobs))


def resident(pid: int, more_than: int = 0) -> int:
    """Return the bytes in memory of a process and of all below it, shared ones included.

    What forked processes share counts for each in a first sum, which is cheap; each page is counted once where that
    is more than asked for.
    """
    processes = (pid, *_below(pid))
    total = sum(_read_sizes(one, "statm") for one in processes)
    return total if total <= more_than else sum(_read_sizes(one, "smaps_rollup") for one in processes)


def _read_sizes(pid: int, name: str) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/{name}").read_text()
        if name == "statm":
            return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return 0


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """End every process that is started within and still there at the end, whoever started it."""
    adopted = ctypes.c_int()
    _prctl(_GET_CHILD_SUBREAPER, ctypes.byref(adopted))
    adopt()
    before = _children(os.getpid())
    try:
        yield
    finally:
        _end(lambda: [one for child in _children(os.getpid()) - before for one in (child, *_below(child))])
        # What loses its parent later is not ours to adopt: nobody here would reap it.
        _prctl(_SET_CHILD_SUBREAPER, adopted.value)


def end_below(pid: int) -> None:
    """End every process below this one, and those that they start meanwhile."""
    _end(lambda: list(_below(pid)))


def _end(left: Callable[[], Sequence[int]]) -> None:
    for _ in range(100):  # a process may start others while it is being ended
        found = left()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _children(pid: int) -> set[int]:
    return {child for child, parent in _parents() if parent == pid}


def _below(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    left = [pid]
    while left:
        own = children.pop(left.pop(), [])
        left += own
        yield from own


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every living process and its parent; nothing where there is no /proc."""
    with contextlib.suppress(OSError):
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
                    if state != "Z":
                        yield int(entry), int(parent)
