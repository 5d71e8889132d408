"""Recorded inputs as data: an .npz is measured before any of it is unpacked, and holds numbers alone.

An archive states the size of each member, and each array its shape and dtype. Both are bounded and have to agree before
memory is asked for, so that neither a small archive that unpacks to terabytes nor an object that runs code gets in.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.errors import HarnessError

MEMBERS, MEMBER_BYTES, ALL_BYTES = 1000, 64 * 2**20, 256 * 2**20
"""What a recording holds at most."""

_KINDS = {"query": "f", "key": "f", "value": "f", "output": "f", "mask": "b"}


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a recording by name, `LAYER.query` and so on; HarnessError if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive)
            shapes = {info.filename.removesuffix(".npy"): _shape(archive, info) for info in archive.infolist()}
        _check_layers(shapes)
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except (
        OSError,
        ValueError,
        EOFError,
        SyntaxError,
        KeyError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise HarnessError(f"{path} is no recording: {error}") from error


def _check_archive(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MEMBERS or len({info.filename for info in members}) < len(members):
        raise ValueError(f"it has more than {MEMBERS} members, or two of one name")
    for info in members:
        if info.file_size > MEMBER_BYTES:
            raise ValueError(f"{info.filename[:100]!r} unpacks to {info.file_size} bytes, more than {MEMBER_BYTES}")
    if sum(info.file_size for info in members) > ALL_BYTES:
        raise ValueError(f"it unpacks to more than {ALL_BYTES} bytes")


def _shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, ...]:
    """Return the shape that an array's header states, if the member is as long as it says."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in headers:
            raise ValueError(f"{info.filename[:100]!r} is of an unknown version, {version}")
        shape, _, dtype = headers[version](file)
        begun = file.tell()
    kind = _KINDS.get(info.filename.removesuffix(".npy").rpartition(".")[2])
    if dtype.hasobject or dtype.kind != kind:
        raise ValueError(
            f"{info.filename[:100]!r} holds {dtype}; it must be {'boolean' if kind == 'b' else 'floating'}"
        )
    if min(shape, default=0) < 0 or begun + math.prod(shape) * dtype.itemsize != info.file_size:
        raise ValueError(f"{info.filename[:100]!r} is not as long as its shape {shape} says")
    return tuple(map(int, shape))


def _check_layers(shapes: dict[str, tuple[int, ...]]) -> None:
    for layer in {name.rpartition(".")[0] for name in shapes}:
        own = [shapes.get(f"{layer}.{name}", ()) for name in _KINDS]
        if not layer.isidentifier() or not all(len(shape) == 4 for shape in own):
            raise ValueError(f"{layer[:100]!r} lacks one of {', '.join(_KINDS)} with 4 axes")
