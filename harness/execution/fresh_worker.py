"""What runs in the process of `execution.fresh`: python -m attention_harness.execution.fresh_worker DESCRIPTOR."""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import time
from typing import Any

import msgspec

from attention_harness.execution import limits, processes
from attention_harness.model.errors import describe

ENDED, RAISED = "ended", "raised"
"""First words of the last line: the function returned, or what it raised."""


class Channel:
    """The fresh process's end: a function that runs there gets one as its first argument."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._alive = 0.0

    def write(self, record: Any) -> None:
        """Send a record, a dict of plain data or a msgspec struct, to the parent: it is safe when this returns."""
        self._write_line(msgspec.json.encode(record))

    def alive(self) -> None:
        """Say that the process is not stalled, at most once a second: between two records that lie far apart."""
        if time.monotonic() - self._alive > 1:
            self._alive = time.monotonic()
            self._write_line(b"")

    def end(self, *words: str) -> None:
        """Send the last line: how the function ended."""
        self._write_line(msgspec.json.encode(words))

    def _write_line(self, line: bytes) -> None:
        left = memoryview(line + b"\n")
        while left:
            left = left[os.write(self._descriptor, left) :]


def main(descriptor: int) -> None:
    """Call the function that standard input names, and write how it ended."""
    processes.become_leader()
    faulthandler.enable()
    channel = Channel(descriptor)
    path, memory = pickle.load(sys.stdin.buffer)
    sys.path[:] = path
    try:
        function, arguments = pickle.load(sys.stdin.buffer)  # imports the module
        limits.limit_memory(memory + limits.FRESH_MEMORY if memory < limits.UNLIMITED else memory)
        function(channel, *arguments)
    except BaseException as error:
        channel.end(RAISED, describe(error))
        raise
    channel.end(ENDED)


if __name__ == "__main__":
    main(int(sys.argv[1]))
