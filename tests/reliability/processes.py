"""The processes of a run, told by a variable of their environment."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.reliability.hostile import MARK


def hears_interrupts() -> None:
    """Let a child hear SIGINT: what is started in the background of a shell has it ignored, and its children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def left(mark: str, patience: float = 10.0) -> list[str]:
    """Return the processes that still carry the mark, after a moment in which they may end."""
    deadline = time.monotonic() + patience
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.1)
