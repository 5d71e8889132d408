"""The processes of implementations, as the judge's process starts, asks and ends them.

A worker forks a process before it imports anything of the judge, and that one forks a process for each implementation:
so these have torch at once, and neither reference nor checks. They are in the worker's process group, and die with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import time
import weakref
from typing import Any

import msgspec

from attention_harness.execution import processes
from attention_harness.execution.limits import FRESH_MEMORY
from attention_harness.execution.lost import Lost, Output, cause_of_death
from attention_harness.host import memory, server, wire
from attention_harness.host.loading import Source
from attention_harness.host.wire import Answer, Groups, Packed, Question
from attention_harness.model.errors import HarnessError, ImplementationRaised
from attention_harness.model.verdict import Status

_DIES_SECONDS = 5.0  # for a process that has closed its connection

FORBIDDEN = ("bounds", "cases", "checks", "mutation", "options", "registry", "reference")
"""Rooms of which no module is in the process of an implementation when it begins."""


class _Start(msgspec.Struct):
    source: Source
    memory: int


# --- the process that starts them


class Nursery:
    """The process of a worker that starts the processes of implementations. It is forked once, at the beginning."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            try:
                _nurse(theirs)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        theirs.close()

    def start(self, source: Source, limit: int, descriptors: list[int]) -> int:
        """Start the process of an implementation, and return its number."""
        return self._ask(msgspec.json.encode(_Start(source, limit)), descriptors)

    def exit_code(self, pid: int) -> int:
        """Return with what a process ended; one that does not end by itself is ended."""
        return self._ask(str(pid).encode(), [])

    def _ask(self, question: bytes, descriptors: list[int]) -> int:
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [question], descriptors)
            if answer := self._control.recv(64):
                return int(answer)
        raise Lost(Status.CRASH, "it ended the process that had started its own")

    def close(self) -> None:
        """End it, and the processes that it started."""
        self._control.close()
        os.waitpid(self.pid, 0)

    def lives(self) -> bool:
        """Return whether it is still there."""
        return processes.lives(self.pid)


def _nurse(control: socket.socket) -> None:
    """Start processes, and tell with what they ended, until the worker is gone."""
    ours = [name for name in sys.modules if name.startswith(tuple(f"attention_harness.{room}" for room in FORBIDDEN))]
    assert not ours, f"the process of an implementation would begin with {ours[0]}"
    processes.follow_parent()
    keep = control.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 16 else 1 << 16)
    ended: dict[int, int] = {}
    while True:
        question, descriptors, *_ = socket.recv_fds(control, 1 << 16, 3)
        if not question:
            return
        if descriptors:
            start = msgspec.json.decode(question, type=_Start)
            if not (answer := os.fork()):
                control.close()
                _serve(start, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            answer = _exit_code(int(question), ended)
        control.sendall(str(answer).encode())


def _serve(start: _Start, connection: int, room: int, output: int) -> None:
    """Be the process of an implementation, and end."""
    import torch

    code = 0
    try:
        processes.follow_parent()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        faulthandler.enable(file=2)
        torch.set_num_threads(1)
        memory.limit_memory(start.memory)
        server.serve(wire.Channel(socket.socket(fileno=connection), room), start.source, start.memory)
    except OSError as error:  # it closed the connection
        code = error.errno or 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        server._exit(code)


def _exit_code(pid: int, ended: dict[int, int]) -> int:
    """Return with what a process ended, after ending it if it has not within a while."""
    deadline = time.monotonic() + _DIES_SECONDS
    while pid not in ended:
        with contextlib.suppress(ChildProcessError):
            found, status = os.waitpid(-1, os.WNOHANG)  # also of what was adopted
            if found:
                ended[found] = os.waitstatus_to_exitcode(status)
                continue
        if time.monotonic() > deadline:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return ended.pop(pid)


# --- one of them


class Host:
    """The process of an implementation, seen from the judge's."""

    def __init__(self, source: Source, nursery: Nursery | None, limit: int, seconds: float | None = None) -> None:
        """limit: of its memory. seconds: for one answer, where nobody else looks at the time.

        nursery: what forks it; None for a fresh interpreter, which is asked for what it declares alone.
        """
        self.source, self.limit, self._seconds = source, limit, seconds
        self._nursery, self._output = nursery, Output() if nursery else None
        ours, theirs = socket.socketpair()
        room = wire.new_room()
        self._fresh: subprocess.Popen[bytes] | None = None
        try:
            if nursery and self._output:
                descriptors = [theirs.fileno(), room, self._output.writer.fileno()]
                self.pid = nursery.start(source, limit, descriptors)
                self._output.writer.close()
            else:
                self._fresh = _fresh(source, limit, theirs.fileno(), room)
                self.pid = self._fresh.pid
                weakref.finalize(self, _end_fresh, self._fresh)
        finally:
            theirs.close()
        self._watch = select.poll()
        self._watch.register(ours, select.POLLIN)
        self._death = -1
        with contextlib.suppress(OSError, AttributeError):  # not Linux, or an old one
            self._death = os.pidfd_open(self.pid)
            self._watch.register(self._death, select.POLLIN)
        self._channel = wire.Channel(ours, room)
        self._decoder = msgspec.msgpack.Decoder(Answer)
        self._last: dict[int, Any] = {}
        self._ended = False

    def ask(self, operation: str, groups: Groups = (), *, shared: bool = False, **arguments: Any) -> Answer:
        """Return the answer to a question. shared: whether tensors lie in memory where their change is seen.

        Raises ImplementationRaised, HarnessError where the file is wrong, and Lost where there is no answer.
        """
        try:
            question = Question(operation, arguments)
            descriptor = self._pack(question, groups, shared) if groups else None
            self._channel.send(question, descriptor)
            self._await()
            answer, _ = self._channel.receive(self._decoder)
        except TimeoutError:
            self.end()
            raise Lost(Status.TIMEOUT, f"no answer within {self._seconds:g} s") from None
        except (OSError, EOFError):
            if self._ended:
                raise Lost(Status.CRASH, "its process has ended") from None
            raise self._lost() from None
        except wire.Broken as broken:
            raise self._broken(str(broken)) from None
        if answer.mistake:
            raise HarnessError(answer.mistake)
        if answer.raised:
            raise ImplementationRaised(answer.raised, answer.kind)
        return answer

    def _await(self) -> None:
        """Wait for an answer; raise EOFError if the process is gone: one that it left may hold its connection."""
        found = self._watch.poll(None if self._seconds is None else 1000 * self._seconds)
        if not found:
            raise TimeoutError
        if all(descriptor == self._death for descriptor, _ in found):
            raise EOFError

    def results(self, answer: Answer, count: int) -> list[Any]:
        """Return copies of the tensors of the last answer, which has to have so many."""
        try:
            if len(answer.parts) != count:
                raise wire.Broken(f"{len(answer.parts)} results, expected {count}")
            return wire.unpack(answer.parts, self._channel)
        except (wire.Broken, RuntimeError, TypeError) as broken:
            raise self._broken(str(broken)) from None

    def _broken(self, why: str) -> Lost:
        self.end()
        return Lost(Status.CRASH, f"its process gave no valid answer: {why}")

    def changed_inputs(self) -> list[str]:
        """Return the inputs of the last watched call that lie in other numbers now: seen here, not told from there."""
        mapped, packed = self._shared
        found = set()
        for number, (storage, (_, source, size)) in enumerate(zip(packed.storages, packed.sources, strict=True)):
            if size and mapped[storage.start : storage.start + size] != ctypes.string_at(source, size):
                found.add(number)
        return [name for name, view in packed.views[0].items() if view.storage in found]

    def end(self) -> None:
        """End the process, if it has not ended."""
        if self._ended:
            return
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(Lost):
            self._exit_code()

    def _pack(self, question: Question, groups: Groups, shared: bool) -> int | None:
        """Write the numbers of tensors where the process finds them; return a descriptor to send, if it has its own."""
        last = {id(tensor): number for number, of in self._last.items() if (tensor := of()) is not None}
        packed = Packed(groups, {} if shared else last, by_pages=shared)
        question.storages, question.tensors = packed.storages, packed.views
        self._last = {number: weakref.ref(tensor) for number, tensor in packed.tensors.items()}
        if not shared:
            self._channel.reserve(packed.size)
            packed.write(self._channel.address)
            return None
        question.shared = max(memory.pages(packed.size), mmap.PAGESIZE)
        descriptor = os.memfd_create("inputs", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, question.shared)
        mapped = mmap.mmap(descriptor, question.shared)
        packed.write(memory.address(mapped))
        self._shared = mapped, packed
        return descriptor

    def _lost(self) -> Lost:
        """Return how the process was lost."""
        try:
            code = self._exit_code()
        except Lost as lost:
            return lost
        if self._output is None:
            return Lost(Status.CRASH, cause_of_death(code))
        return self._output.death(code, self.limit)

    def _exit_code(self) -> int:
        self._ended = True
        self._channel.close()
        if self._death >= 0:
            os.close(self._death)
        try:
            if self._fresh:
                return self._fresh.wait()
            assert self._nursery is not None
            return self._nursery.exit_code(self.pid)
        finally:
            if self._output:
                self._output.close()


def _fresh(source: Source, limit: int, connection: int, room: int) -> subprocess.Popen[bytes]:
    """Start the process of an implementation as an interpreter of its own."""
    script = f"from {__name__} import _main; _main()"
    start = msgspec.json.encode(_Start(source, limit)).decode()
    return subprocess.Popen(
        [sys.executable, "-c", script, str(connection), str(room), start],
        stdin=subprocess.DEVNULL,
        stdout=2,  # standard output may have to be one JSON document
        pass_fds=(connection, room),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _main() -> None:
    processes.become_leader()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection, room = map(int, sys.argv[1:3])
    start = msgspec.json.decode(sys.argv[3], type=_Start)
    del sys.argv[1:]
    memory.limit_memory(start.memory + FRESH_MEMORY if start.memory < memory.UNLIMITED else start.memory)
    with contextlib.suppress(OSError):
        server.serve(wire.Channel(socket.socket(fileno=connection), room), start.source)
    server._exit(0)


def _end_fresh(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
