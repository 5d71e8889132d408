"""Streams of numbers that belong to a case, the same bits on every machine.

Numbers are drawn from Philox's raw integers, whose stream is fixed, by additions and exact scalings alone: no `log`,
`exp` or generator whose last bit depends on a library. A normal number is a sum of twelve uniforms less six
(Irwin-Hall): mean 0, variance 1, within +-6, with full 53-bit mantissas. Nothing is uniform in (0, 1): such inputs make
all weights alike and hide mutants.

A stream is chosen by a hash of the case's mechanism, sizes and draw, and of the tensor's name: the same problem has the
same numbers in every dtype and layout, with and without options.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.case import Case, spelt

Array = NDArray[np.float64]

_FEW = 1 << 13  # draws up to so many numbers, 64 KiB, are cached: at most 1024 of them
_MANY = 1 << 18  # those up to so many, 2 MiB, as well: at most 32 of them, since the checks of a case follow each other


def _key(case: Case, name: str) -> int:
    sizes = ",".join(f"{axis}{length}" for axis, length in case.sizes.items())
    digest = hashlib.sha256(f"{case.mechanism}|{sizes}|{case.draw}|{name}".encode()).digest()
    return int.from_bytes(digest[:16], "little")


def normal(case: Case, name: str, shape: tuple[int, ...]) -> Array:
    """Return normal numbers; the array is shared and cannot be written to."""
    count = math.prod(shape)
    draw = _normal_of_few if count <= _FEW else _normal_of_many if count <= _MANY else _normal
    return draw(_key(case, name), shape)


def _normal(key: int, shape: tuple[int, ...]) -> Array:
    stream, count = np.random.Philox(key=key), math.prod(shape)
    total = np.zeros(count)
    for _ in range(12):  # one addition after another: the order is part of the number
        total += (stream.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    total = (total - 6.0).reshape(shape)
    total.flags.writeable = False  # it may be handed out again
    return total


# Every check of every implementation asks for the same numbers: drawing them took a fifth of a run.
_normal_of_few = functools.lru_cache(maxsize=1024)(_normal)
_normal_of_many = functools.lru_cache(maxsize=32)(_normal)


def whole_numbers(case: Case, name: str, shape: tuple[int, ...], limit: int) -> NDArray[np.int64]:
    """Return whole numbers from 0 to limit - 1."""
    raw = np.random.Philox(key=_key(case, name)).random_raw(math.prod(shape))
    return (raw % np.uint64(max(limit, 1))).astype(np.int64).reshape(shape)


def flag(case: Case, name: str) -> bool:
    """Return a coin that falls alike in every dtype, layout and device: half of all cases have it."""
    options = "+".join(f"{option}={spelt(form)}" for option, form in case.options.items())
    return bool(_key(case, f"{name}|{options}|{case.content}") % 2)
