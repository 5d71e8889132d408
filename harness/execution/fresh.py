"""Run a module's function in a fresh interpreter that streams records: for measurements, which no pool may share.

    def measure(channel, cells):                 # in a module that the fresh interpreter can import
        for cell in cells:
            channel.write({"cell": cell, "seconds": time_it(cell, channel.alive)})

    try:
        run_fresh(measure, cells, on_record=records.append, environment={"OMP_NUM_THREADS": "1"}, stall_seconds=300)
    except Lost as lost:                         # its process died, hung, took too much memory, or the function raised
        print(f"after {len(records)} records: {lost}")

Every record that was written reaches `on_record`, also of a process that dies afterwards. When `run_fresh` returns or
raises, the process and all that it started have ended. Between two records the parent sleeps but for a short look, so
that it disturbs nothing that is timed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from attention_harness.execution import processes
from attention_harness.execution.limits import FRESH_MEMORY
from attention_harness.execution.lost import Lost, Output, check_memory
from attention_harness.host.memory import UNLIMITED, limit_memory, out_of_memory
from attention_harness.model.errors import describe
from attention_harness.model.verdict import Status

_ENDED, _RAISED = "ended", "raised"  # first words of the last line: the function returned, or what it raised
_LOOK = 0.2  # seconds between two looks at whether the process lives
_MEMORY_LOOK = 1.0  # and at its memory
_EXIT_SECONDS = 5.0  # for a process that has nothing more to say to end by itself


def run_fresh(
    function: Callable[..., None],
    *arguments: Any,
    on_record: Callable[[Any], object],
    record_type: Any = dict[str, Any],
    environment: Mapping[str, str] | None = None,
    stall_seconds: float,
    memory: int = UNLIMITED,
) -> None:
    """Call `function(channel, *arguments)` in a fresh interpreter, and `on_record` with each record that it writes.

    Raises `Lost` where the function does not return there; its text says why.

    record_type    of the records as `on_record` gets them: a dict, or a msgspec struct or a tagged union of some
    environment    variables beside this process's: libraries read some when they are loaded
    stall_seconds  a process that neither writes a record nor says that it is alive for so long is ended
    memory         bytes that it may take beyond what a fresh process has, with all that it starts
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as job, processes.no_process_left():
        job.write(pickle.dumps((sys.path, memory)) + pickle.dumps((function, arguments)))
        job.seek(0)
        output = Output(shown=0)
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main({writer})"],
            stdin=job,
            stdout=output.writer.fileno(),
            stderr=output.writer.fileno(),
            pass_fds=(writer,),
            env={**os.environ, **(environment or {})},
        )
        os.close(writer)
        try:
            last = _pass_on(_lines(process, reader, stall_seconds, memory), on_record, record_type)
        finally:
            os.close(reader)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_SECONDS)
            process.kill()
            process.wait()
            output.close()
    if last is None:
        raise output.death(process.returncode, memory)
    if last[0] == _RAISED:
        raise Lost(Status.ERROR, out_of_memory(last[1], memory))


def _pass_on(lines: Iterator[bytes], on_record: Callable[[Any], object], record_type: Any) -> list[str] | None:
    """Pass each record on. Return the last line, which says how the function ended; None if there is none."""
    decoder = msgspec.json.Decoder(record_type)
    for line in lines:
        if line.startswith(b"["):
            return msgspec.json.decode(line, type=list[str])
        if line:
            on_record(decoder.decode(line))
    return None


def _lines(process: subprocess.Popen[bytes], reader: int, stall_seconds: float, memory: int) -> Iterator[bytes]:
    """Yield the whole lines that the process writes, until it has ended: what it died in the middle of is no line."""
    rest, heard, looked = b"", time.monotonic(), time.monotonic()
    while True:
        ended = process.poll() is not None  # before the last read: what it wrote is in the pipe then
        if select.select([reader], [], [], 0 if ended else _LOOK)[0]:
            if not (read := os.read(reader, 1 << 16)):
                return
            heard = time.monotonic()
            *whole, rest = (rest + read).split(b"\n")
            yield from whole
        elif ended:
            return
        now = time.monotonic()
        if now - heard > stall_seconds:
            raise Lost(Status.TIMEOUT, f"nothing finished in {stall_seconds:.0f} s")
        if now - looked > _MEMORY_LOOK:
            looked = now
            check_memory(process.pid, memory)


# --- the fresh process


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
        limit_memory(memory + FRESH_MEMORY if memory < UNLIMITED else memory)
        function(channel, *arguments)
    except BaseException as error:
        channel.end(_RAISED, describe(error))
        raise
    channel.end(_ENDED)
