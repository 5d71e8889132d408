"""Process trees: their memory, and that nothing of them is left when their work is done.

psutil finds and ends processes. Two things that it does not have are Linux's own: a process that adopts the orphans
below it, and a process that dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing.forkserver
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 1, 36, 37  # linux/prctl.h
_EXITING = 0x4  # of a process's flags: PF_EXITING of linux/sched.h
_ROUNDS, _PAUSE = 100, 0.01  # a process may start others while it is being ended


def descendants(pid: int, *, recursive: bool = True) -> list[psutil.Process]:
    """Return all living processes below a process; its children alone if not recursive."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=recursive):
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return found


def lives(pid: int) -> bool:
    """Return whether a process is there and not about to end: one that was killed takes a while to be gone."""
    try:
        state, *_, flags = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:7]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return psutil.pid_exists(pid) and not Path("/proc/self/stat").exists()
    pending = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    killed = any(signals >> (signal.SIGKILL - 1) & 1 for signals in pending)
    return state not in "ZX" and not int(flags) & _EXITING and not killed


def resident(pid: int, enough: int = 0) -> int:
    """Return the bytes in memory of a process and of all below it, shared ones included.

    What forked processes share counts for each in a first sum, which is cheap; only where that is more than `enough`
    is each page counted once.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = [psutil.Process(pid), *descendants(pid)]
        total = sum(_size(process, "memory_info", "rss") for process in tree)
        return total if total <= enough else sum(_size(process, "memory_full_info", "pss") for process in tree)
    return 0


def _size(process: psutil.Process, method: str, field: str) -> int:
    with contextlib.suppress(psutil.Error):
        return int(getattr(getattr(process, method)(), field))
    return 0


def end(find: Callable[[], Sequence[psutil.Process]]) -> None:
    """End the processes that are found, until none is found any more."""
    for _ in range(_ROUNDS):
        found = find()
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(_PAUSE)


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """End every process that is started within and still there at the end, whoever started it."""
    adopts_already = ctypes.c_int()
    _prctl(_GET_CHILD_SUBREAPER, ctypes.byref(adopts_already))
    adopt_orphans()
    before = set(psutil.Process().children())
    try:
        yield
    finally:
        end(
            lambda: [
                one for child in descendants(os.getpid(), recursive=False) if child not in before for one in tree(child)
            ]
        )
        for orphan in set(psutil.Process().children()) - before:  # ended, and nobody else's to wait for
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan.pid, os.WNOHANG)
        # What loses its parent later is not ours to adopt: nobody here would reap it.
        _prctl(_SET_CHILD_SUBREAPER, adopts_already.value)


def tree(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all living ones below it."""
    return [process, *descendants(process.pid)]


def adopt_orphans() -> None:
    """Make this process the parent of every descendant that loses its own."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def become_leader() -> None:
    """Make this process the leader of a session, which adopts orphans below it and dies with its parent."""
    with contextlib.suppress(OSError):
        os.setsid()
    follow_parent()


def follow_parent() -> None:
    """Make this process adopt orphans below it, and die with its parent."""
    adopt_orphans()
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def leave_fork_server() -> None:
    """Close the end of the harness's pipe that a forked worker inherits: the fork server must see the harness end."""
    inherited = multiprocessing.forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if inherited is not None:
        with contextlib.suppress(OSError):
            os.close(inherited)


def _prctl(option: int, value: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
