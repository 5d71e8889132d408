"""A process that gave no answer: what it died of, and what it printed before.

Standard output and standard error of a worker are one pipe. A thread empties it as fast as it comes, so that nothing
stalls, fills the disk or floods the terminal: it is shown up to a limit, and its end is kept for the verdict. Standard
output of the harness stays free for its own document.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from attention_harness.execution import processes
from attention_harness.execution.limits import FRESH_MEMORY
from attention_harness.host.memory import UNLIMITED, out_of_memory
from attention_harness.model import units
from attention_harness.model.verdict import Status

SHOWN = 16 * 1024  # bytes of one worker's output that reach the terminal
_TAIL = 16 * 1024  # bytes that are kept of the end
_LONGEST = 200  # characters of a line in a reason
READS_OUTPUT = "reads output"
"""The name of the thread that reads a process's output."""

_FATAL = "Fatal Python error"
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (\S+)$', re.M)
_ABORTED = re.compile(
    r"^(.*(?:terminate called|what\(\):|bad_alloc|[Aa]ssert|CHECK failed|[Cc]annot allocate).*)$", re.M
)


class Lost(Exception):
    """A process gave no answer. status: `crash`, `timeout` or `error`; its text is the reason.

    frames: where it was at a fatal signal, the innermost first: (file, line, function)
    seconds: how long it was waited for
    """

    seconds = 0.0

    def __init__(self, status: Status, reason: str, frames: Sequence[tuple[str, str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.frames = frames

    def __reduce__(self) -> Any:
        return Lost, (self.status, str(self), self.frames)


def cause_of_death(exitcode: Any) -> str:
    """Return how a process ended: its signal's name, or its exit status."""
    if not isinstance(exitcode, int) or exitcode > 0:
        return f"its process died: exit status {exitcode}"
    if exitcode == 0:
        return "its process ended with exit status 0"
    try:
        return f"its process died: {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"its process died: signal {-exitcode}"


def check_memory(pid: int, memory: int) -> None:
    """Raise `Lost` if a process, with all that it started, holds so many bytes more than a fresh one has."""
    most = memory + FRESH_MEMORY
    if memory < UNLIMITED and processes.resident(pid, most) > most:
        raise Lost(Status.CRASH, f"out of memory: its processes hold more than {units.size(memory)}, its limit")


class Output:
    """The pipe between a worker and this process. writer: the worker's end, which `redirect_output` takes."""

    def __init__(self, shown: int = SHOWN) -> None:
        self._reader, self.writer = multiprocessing.Pipe(duplex=False)
        self._tail = b""
        self._left = self._shown = shown
        self._thread = threading.Thread(target=self._drain, name=READS_OUTPUT, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while read := os.read(self._reader.fileno(), 1 << 16):
                self._tail = (self._tail + read)[-_TAIL:]
                if self._left > 0:
                    _show(read[: self._left])
                    if len(read) > self._left:
                        _show(f"\n(a worker has printed {self._shown // 1024} KiB; no more of it is shown)\n".encode())
                    self._left -= len(read)

    def close(self) -> None:
        """Read what is left after the worker has ended."""
        self.writer.close()
        self._thread.join(2.0)  # longer only if a process that escaped holds the other end

    def frames(self) -> list[tuple[str, str, str]]:
        """Return where Python was at a fatal signal, the innermost first: (file, line, function)."""
        _, fatal, trace = self.text.rpartition(_FATAL)
        return [(found[1], found[2], found[3]) for found in _FRAME.finditer(trace)] if fatal else []

    def death(self, exitcode: Any, memory: int) -> Lost:
        """Return how the process was lost, which has ended with this exit code under this limit of memory."""
        words = last_words(self.text)
        reason = cause_of_death(exitcode) + (f" ({words})" if words else "")
        return Lost(Status.CRASH, out_of_memory(reason, memory), self.frames())

    @property
    def text(self) -> str:
        """The end of what was printed."""
        return self._tail.decode(errors="replace")


def last_words(text: str) -> str:
    """Return the lines in which a runtime explains why it ended the process, from the end of an output; or ""."""
    head, fatal, trace = text.rpartition(_FATAL)
    lines = [found[1].strip() for found in _ABORTED.finditer(head if fatal else trace)][-2:]
    return "; ".join(" ".join(line.split())[:_LONGEST] for line in lines)


def redirect_output(writer: Connection) -> None:
    """Send this worker's standard output, standard error and last trace before a fatal signal into the pipe."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os.dup2(writer.fileno(), 1)
    os.dup2(writer.fileno(), 2)
    writer.close()
    faulthandler.enable(file=2)


def _show(text: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.write(2, text)
