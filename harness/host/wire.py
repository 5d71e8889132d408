"""The protocol between the judge's process and an implementation's: questions and answers as data, tensors as memory.

A message is a length, and MessagePack of a `Question` or an `Answer`. The numbers of its tensors lie in a piece of
memory that both processes map. Whoever gets them copies them before anything else, so that what is written there later
reaches nobody. A watched call's inputs alone are not copied: they lie in memory of their own, so that the judge sees
itself what the call did to them.

Nothing that comes from an implementation's process is unpickled or run: an answer that is not made of the fields below
is no answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from attention_harness.host import memory
from attention_harness.host.loading import Facts

if TYPE_CHECKING:
    from torch import Tensor

Groups = Sequence[Mapping[str, "Tensor"]]

_LENGTH = struct.Struct("<I")
_LONGEST = 1 << 26  # bytes of a message; tensors are not in it
_ALIGNED = 64  # as torch's allocator has it
_FIRST_ROOM = 1 << 20


class Storage(msgspec.Struct, array_like=True):
    """Memory that tensors share. start: its place in the message's numbers; again: the place of the same in the last
    message, into which these numbers are written; -1 for memory of its own.
    """

    start: int
    size: int
    device: str
    guarded: bool = False
    again: int = -1


class View(msgspec.Struct, array_like=True):
    """A tensor in a storage: shape, strides and offset, and those of the tensor that it is a view of.

    number: of the tensor in the message; one that is given under several names has one
    """

    number: int
    storage: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    base: tuple[tuple[int, ...], tuple[int, ...], int] | None = None


class Question(msgspec.Struct):
    """What the judge asks.

    arguments  plain data
    tensors    groups of them by name
    shared     the size of the map sent along, in which they lie; 0: they lie in the channel's memory
    """

    operation: str
    arguments: dict[str, Any] = {}
    storages: list[Storage] = []
    tensors: list[dict[str, View]] = []
    shared: int = 0


class Part(msgspec.Struct, array_like=True):
    """A tensor that was returned, in contiguous memory; or what else came back: only the name of its type."""

    type: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    device: str = ""
    start: int = 0
    size: int = 0


class Answer(msgspec.Struct, omit_defaults=True):
    """What an implementation's process answers; which fields count follows from the question.

    raised, kind   what the implementation raised, and the name of its type
    mistake        what is wrong with the file, in a line
    parts, names   tensors, and their names; counts: how many of each problem
    """

    raised: str = ""
    kind: str = ""
    mistake: str = ""
    facts: Facts | None = None
    text: str = ""
    prepared: int = -1
    set_up: dict[str, tuple[str | None, str | None]] = {}
    parts: list[Part] = []
    names: list[str] = []
    counts: list[int] = []
    differentiable: bool = False
    changed_inputs: tuple[str, ...] = ()
    changed_state: tuple[str, ...] = ()
    shared_memory: dict[str, str] = {}
    replaced: tuple[str, ...] = ()
    spoilt: bool = False


class Broken(Exception):
    """What came is no message of this protocol."""


_Message = TypeVar("_Message", Question, Answer)


class Channel:
    """One end of the connection: a socket, and the memory for numbers, which grows as it must and never shrinks."""

    def __init__(self, connection: socket.socket, room: int) -> None:
        self._socket, self._room = connection, room
        self._map(os.fstat(room).st_size)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)

    def send(self, message: Question | Answer, descriptor: int | None = None) -> None:
        """Send a message, and a file descriptor with it."""
        body = self._encoder.encode(message)
        data = _LENGTH.pack(len(body)) + body
        sent = 0
        if descriptor is not None:
            sent = socket.send_fds(self._socket, [data], [descriptor])
        if sent < len(data):
            self._socket.sendall(memoryview(data)[sent:])

    def receive(self, decoder: msgspec.msgpack.Decoder[_Message]) -> tuple[_Message, int | None]:
        """Return the next message and the descriptor that came with it; raise EOFError where the other end is gone."""
        first, descriptors, *_ = socket.recv_fds(self._socket, _LENGTH.size, 1)
        head = first + self._exactly(_LENGTH.size - len(first)) if first else b""
        if not head:
            raise EOFError
        [length] = _LENGTH.unpack(head)
        if length > _LONGEST:
            raise Broken(f"a message of {length} bytes")
        body = self._exactly(length)
        try:
            return decoder.decode(body), descriptors[0] if descriptors else None
        except msgspec.MsgspecError as error:
            raise Broken(str(error)) from None

    def _exactly(self, count: int) -> bytearray:
        body = bytearray(count)
        view, got = memoryview(body), 0
        while got < count:
            read = self._socket.recv_into(view[got:], 0, socket.MSG_WAITALL)
            if not read:
                raise EOFError
            got += read
        return body

    def close(self) -> None:
        """Close the connection, and the memory."""
        with contextlib.suppress(OSError):
            self._socket.close()
            os.close(self._room)

    def _map(self, size: int) -> None:
        self.size, self._memory = size, mmap.mmap(self._room, size)
        self.address = memory.address(self._memory)

    def reserve(self, size: int) -> None:
        """Have room for so many bytes of numbers."""
        if size > self.size:
            os.ftruncate(self._room, memory.pages(max(size, 2 * self.size)))
            self._map(os.fstat(self._room).st_size)

    def reach(self, start: int, size: int) -> int:
        """Return the address of numbers that the other end has written; raise Broken where there are none."""
        if start + size > self.size:
            self._map(os.fstat(self._room).st_size)
        if start < 0 or size < 0 or start + size > self.size:
            raise Broken("numbers outside of the memory")
        return self.address + start


def new_room() -> int:
    """Return a descriptor of memory for numbers, which nobody can make smaller."""
    import fcntl

    room = os.memfd_create("numbers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(room, _FIRST_ROOM)
    fcntl.fcntl(room, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return room


def _plain(value: Any) -> Any:
    """Return data that has no encoding of its own as what it is made of."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no data")


def readable(text: str) -> str:
    """Return a text without what no encoding has a place for."""
    return text.encode("utf-8", "backslashreplace").decode()


# --- tensors, from the judge to the implementation


class Packed:
    """Tensors as they are sent: groups of views, the storages that they lie in, and where their numbers are."""

    def __init__(self, groups: Groups, last: Mapping[int, int], *, by_pages: bool) -> None:
        """last: the storages of the tensors that were sent before, by the identity of a tensor that still lives."""
        self.storages: list[Storage] = []
        self.sources: list[tuple[Any, int, int]] = []  # of each storage: the storage on the CPU, address, size
        self.tensors: dict[int, Tensor] = {}  # of each storage: a tensor in it
        self.size = 0
        self._by_pages, self._last = by_pages, last
        self._known: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self.views = [{name: self._view(tensor) for name, tensor in group.items()} for group in groups]

    def _view(self, tensor: Tensor) -> View:
        base = tensor._base
        of_base = None if base is None else (tuple(base.shape), base.stride(), int(base.storage_offset()))
        return View(
            self._numbers.setdefault(id(tensor), len(self._numbers)),
            self._storage(tensor),
            str(tensor.dtype)[6:],  # without "torch."
            tuple(tensor.shape),
            tensor.stride(),
            int(tensor.storage_offset()),
            of_base,
        )

    def _storage(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        place = storage.data_ptr() or -id(tensor)  # nothing lies nowhere
        if place not in self._known:
            device = str(storage.device)
            here = storage if device == "cpu" else storage.cpu()
            size = here.nbytes()
            guarded = bool(size) and getattr(tensor, memory.GUARDED, False)
            start = self.size
            if self._by_pages:
                whole = memory.pages(size) + mmap.PAGESIZE * guarded
                start += memory.pages(size) - size if guarded else 0
                self.size += whole
            else:
                self.size += -(-size // _ALIGNED) * _ALIGNED
            self._known[place] = len(self.storages)
            self.tensors[len(self.storages)] = tensor
            self.sources.append((here, here.data_ptr(), size))
            self.storages.append(Storage(start, size, device, guarded, self._last.get(id(tensor), -1)))
        return self._known[place]

    def write(self, address: int) -> None:
        """Write the numbers to memory that begins at an address."""
        for storage, (_, source, size) in zip(self.storages, self.sources, strict=True):
            if size:
                ctypes.memmove(address + storage.start, source, size)


class Storages:
    """The memory of an implementation's inputs, made in its process."""

    def __init__(self) -> None:
        self._last: list[Any] = []

    def unpack(self, question: Question, channel: Channel, descriptor: int | None) -> list[dict[str, Tensor]]:
        """Return the tensors of a question."""
        if descriptor is not None:
            mapped = mmap.mmap(descriptor, question.shared)
            os.close(descriptor)
            self._last = [_mapped(mapped, one) for one in question.storages]
        else:
            self._last = [self._copied(one, channel) for one in question.storages]
        views = {view.number: view for group in question.tensors for view in group.values()}
        made = {number: self._tensor(view) for number, view in views.items()}
        return [{name: made[view.number] for name, view in group.items()} for group in question.tensors]

    def _copied(self, one: Storage, channel: Channel) -> Any:
        import torch

        if one.again >= 0:
            storage = self._last[one.again]
        elif one.guarded:
            storage = _guarded(one.size)
        else:
            storage = torch.UntypedStorage(one.size)
        if one.size and storage.device.type == "cpu":
            ctypes.memmove(storage.data_ptr(), channel.reach(one.start, one.size), one.size)
        elif one.size:
            numbers = torch.UntypedStorage(one.size)
            ctypes.memmove(numbers.data_ptr(), channel.reach(one.start, one.size), one.size)
            storage.copy_(numbers)
        return storage if one.device == "cpu" or one.again >= 0 else storage.to(device=one.device)

    def _tensor(self, view: View) -> Tensor:
        import torch

        empty = torch.empty(0, dtype=getattr(torch, view.dtype), device=self._last[view.storage].device)
        if view.base is None:
            return empty.set_(self._last[view.storage], view.offset, view.shape, view.strides)
        shape, strides, offset = view.base
        base = empty.set_(self._last[view.storage], offset, shape, strides)
        return base.as_strided(view.shape, view.strides, view.offset)


def _guarded(size: int) -> Any:
    """Return memory of its own after which there is none."""
    whole = memory.pages(size)
    mapped = mmap.mmap(-1, whole + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.guard(mapped, whole)
    return _piece(mapped, whole - size, size)


def _mapped(mapped: mmap.mmap, one: Storage) -> Any:
    """Return the memory that a question shares."""
    import torch

    if not one.size:
        return torch.UntypedStorage(0, device=one.device)
    if one.guarded:
        memory.guard(mapped, one.start + one.size)
    piece = _piece(mapped, one.start, one.size)
    return piece if one.device == "cpu" else piece.to(device=one.device)


def _piece(mapped: mmap.mmap, start: int, size: int) -> Any:
    import torch

    return torch.frombuffer(mapped, dtype=torch.uint8, count=size, offset=start).untyped_storage()


# --- tensors, from the implementation to the judge


def pack(results: Sequence[Any], channel: Channel) -> list[Part]:
    """Write what was returned into the memory, and return how it is told. Whatever is no plain tensor is its type."""
    import torch

    parts, flat, start = [], [], 0
    for one in results:
        if type(one) is not torch.Tensor:
            parts.append(Part(readable(type(one).__name__)))
            continue
        numbers = one.detach().resolve_conj().resolve_neg().cpu().contiguous()
        size = numbers.numel() * numbers.element_size()
        parts.append(Part("", str(one.dtype)[6:], tuple(one.shape), str(one.device), start, size))
        flat.append((numbers, start, size))
        start += -(-size // _ALIGNED) * _ALIGNED
    channel.reserve(start)
    for numbers, place, size in flat:
        if size:
            ctypes.memmove(channel.address + place, numbers.data_ptr(), size)
    return parts


def unpack(parts: Sequence[Part], channel: Channel) -> list[Any]:
    """Return copies of what was returned; of what is no tensor a stand-in that has the name of its type alone."""
    import torch

    found: list[Any] = []
    for part in parts:
        if part.type:
            found.append(None if part.type == "NoneType" else type(part.type[:100], (), {})())
            continue
        dtype = getattr(torch, part.dtype, None)
        if not isinstance(dtype, torch.dtype) or min(part.shape, default=0) < 0:
            raise Broken(f"a tensor of {part.dtype[:40]!r}")
        if math.prod(part.shape) * dtype.itemsize != part.size:
            raise Broken("a tensor of another size than its shape")
        storage = torch.UntypedStorage(part.size)
        if part.size:
            ctypes.memmove(storage.data_ptr(), channel.reach(part.start, part.size), part.size)
        tensor = torch.empty(0, dtype=dtype).set_(storage, 0, part.shape, _contiguous(part.shape))
        on_device = part.device.partition(":")[0] == "cuda" and torch.cuda.is_available()
        found.append(tensor.to(part.device) if on_device else tensor)
    return found


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))
