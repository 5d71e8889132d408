"""Starts worker processes for pebble's pools from a fork server that has torch, and ends what they leave behind."""

from __future__ import annotations

import contextlib
import multiprocessing.context
import multiprocessing.forkserver
import os
import signal
import threading
from typing import Any

from attention_harness.execution import processes

EXITED_WITH_0 = 256
"""Stands for exit status 0 where pebble asks: no process can end with this status."""

_guard = threading.Lock()  # between the start of a worker and its being known
_workers: set[int] = set()


class _Process(multiprocessing.context.ForkServerProcess):
    """A worker's process as pebble sees it. One that ends with status 0 of its own accord has died like any other."""

    def start(self) -> None:
        with _guard:
            super().start()
            if self.pid:
                _workers.add(self.pid)

    @property
    def exitcode(self) -> int | None:
        """As `Process.exitcode`, but never 0: pebble would take that for an orderly end and wait for an answer."""
        code = super().exitcode
        return EXITED_WITH_0 if code == 0 else code

    def terminate(self) -> None:
        """End it and its process group at once: it may be deaf to anything softer."""
        if self.pid and super().exitcode is None:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            super().kill()


class Context(multiprocessing.context.ForkServerContext):
    """Starts the processes of one worker, one after the other."""

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
        """The process that was started last."""
        return self._started[-1].pid if self._started else None

    def clean_up(self) -> None:
        """End what the processes of this worker, which have ended, left behind."""
        with _guard:
            for process in self._started:
                if process.pid is not None:
                    _workers.discard(process.pid)
                    with contextlib.suppress(OSError):
                        os.killpg(process.pid, signal.SIGKILL)
            self._started.clear()
            server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            if server:
                processes.end(
                    lambda: [
                        process
                        for child in processes.children(server)
                        if child.pid not in _workers
                        for process in processes.tree(child)
                    ]
                )


def leave_fork_server() -> None:
    """Close the end of the harness's pipe that a forked worker inherits: the fork server must see the harness end."""
    inherited = multiprocessing.forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if inherited is not None:
        with contextlib.suppress(OSError):
            os.close(inherited)
