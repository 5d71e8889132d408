"""The processes of a run, known by a variable of their environment."""

from __future__ import annotations

import signal
import time

import psutil

from tests.reliability.hostile import MARK


def hears_interrupts() -> None:
    """Let a child hear SIGINT: what is started in the background of a shell has it ignored, and its children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def left(mark: str, patience: float = 10.0) -> list[str]:
    """Return the processes that still carry the mark, after a moment in which they may end."""
    deadline = time.monotonic() + patience
    while True:
        every = (process.info for process in psutil.process_iter(["environ", "cmdline"]))
        found = [" ".join(info["cmdline"] or ()) for info in every if (info["environ"] or {}).get(MARK) == mark]
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.1)
