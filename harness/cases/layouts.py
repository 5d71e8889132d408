"""Memory layouts: the same numbers, elsewhere in memory."""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from attention_harness.host import memory

if TYPE_CHECKING:
    import torch


def _transposed(t: torch.Tensor) -> torch.Tensor:
    """Swap the last two axes but one in memory, as (B, L, H, D) read as (B, H, L, D); a matrix by columns."""
    if t.ndim < 2:
        return t
    axes = (-2, -1) if t.ndim == 2 else (-3, -2)
    return t.transpose(*axes).contiguous().transpose(*axes)


def _columns(t: torch.Tensor) -> torch.Tensor:
    """Put the last axis outside another one, so that its numbers are no neighbours; a lone axis is stepped."""
    others = [axis for axis in range(t.ndim - 1) if t.shape[axis] > 1]
    if not others:
        return _stepped(t)
    return t.transpose(others[-1], -1).contiguous().transpose(others[-1], -1)


def _expanded(t: torch.Tensor) -> torch.Tensor:
    """Repeat the first entry of the first axis by a stride of zero."""
    return t[:1].expand_as(t) if t.ndim and t.shape[0] else t


def _offset(t: torch.Tensor) -> torch.Tensor:
    """Cut the tensor out of a larger buffer whose other numbers are NaN, or as wrong as their type allows."""
    if t.ndim == 0:
        return t
    view = _poisoned(t, t.shape[-1] + 3)[..., 2 : 2 + t.shape[-1]]
    view.copy_(t)
    return view


def _stepped(t: torch.Tensor) -> torch.Tensor:
    """Take every other number of the last axis of such a buffer."""
    if t.ndim == 0:
        return t
    view = _poisoned(t, 2 * t.shape[-1])[..., ::2]
    view.copy_(t)
    return view


def _sliced(t: torch.Tensor) -> torch.Tensor:
    """Take every other entry of the first axis of such a buffer: each is contiguous, their stride twice its size."""
    if t.ndim < 2:
        return _stepped(t)
    view = _poisoned(t.repeat_interleave(2, 0), t.shape[-1])[::2]
    view.copy_(t)
    return view


def _poisoned(t: torch.Tensor, width: int) -> torch.Tensor:
    """Return a buffer of this width whose numbers are NaN, or as wrong as their type allows."""
    import torch

    whole = {torch.bool: True, torch.int8: -128}  # of codes, one that stands for nothing
    poison = math.nan if t.is_floating_point() else whole.get(t.dtype, 2**40)
    return torch.full((*t.shape[:-1], width), poison, dtype=t.dtype, device=t.device)


def _guarded(t: torch.Tensor) -> torch.Tensor:
    """End where the process's memory ends: to read past the last number is a crash. On a CPU under Linux alone."""
    import torch

    t = t.contiguous()
    size = t.numel() * t.element_size()
    if not size or t.device.type != "cpu" or sys.platform != "linux":
        return t
    whole = memory.pages(size)
    mapped = mmap.mmap(-1, whole + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.guard(mapped, whole)
    view = torch.frombuffer(mapped, dtype=t.dtype, count=t.numel(), offset=whole - size).reshape(t.shape)
    view.copy_(t)
    setattr(view, memory.GUARDED, True)
    return view


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda t: t.contiguous(),
    "transposed": _transposed,
    "expanded": _expanded,
    "offset": _offset,
    # the last axis is not contiguous, of masks and biases too
    "columns": _columns,
    "stepped": _stepped,
    "guarded": _guarded,
    "sliced": _sliced,
    # each argument in a layout of its own: `layout_of`
    "mixed": lambda t: t,
}

_MIXED = ("contiguous", "transposed", "columns", "stepped", "offset")  # a prime number of layouts


def layout_of(layout: str, argument: int, fingerprint: int) -> str:
    """Return the layout of a case's argument of this number, counted from 0: under `mixed`, one of its own.

    Any five arguments that follow each other have five layouts: query, key and value are never two alike.
    """
    if layout != "mixed":
        return layout
    first, steps = fingerprint % len(_MIXED), fingerprint // len(_MIXED) % (len(_MIXED) - 1)
    return _MIXED[(first + argument * (steps + 1)) % len(_MIXED)]
