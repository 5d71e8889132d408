"""Encodings of positions from tables that are kept, and in one pass over memory. Of `fused`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = 4  # kept of each kind, as layers of a model share them
_SLAB = 1 << 16  # elements: 256 KiB in float32


def positional_encoding(sequence: Tensor, *, base: float = 10000.0, first_position: float = 0) -> Tensor:
    """Add sines and cosines of the position to a sequence (..., L, E), in float32 or better."""
    length, width = sequence.shape[-2:]
    dtype = torch.promote_types(sequence.dtype, torch.float32)
    table = _waves(length, width, base, first_position, dtype)
    if dtype == sequence.dtype:
        return sequence + table
    encoded: Tensor = _Encoding.apply(sequence, table)
    return encoded


def rotary_embedding(
    sequence: Tensor,
    *,
    pairing: str = "half",
    base: float = 10000.0,
    first_position: float = 0,
    partial_rotary_factor: float = 1.0,
) -> Tensor:
    """Rotate pairs of features of a sequence (..., L, D) by the position, in float32 or better."""
    length, width = sequence.shape[-2:]
    pairs = int(width * partial_rotary_factor) // 2
    offset = width // 2 if pairing == "proportional" else pairs
    dtype = torch.promote_types(sequence.dtype, torch.float32)
    cos, sin = _turns(length, pairs, offset, base, first_position, dtype)
    if pairing == "interleaved":
        firsts, seconds = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    else:
        firsts, seconds = slice(0, pairs), slice(offset, offset + pairs)
    rotated: Tensor = _Rotation.apply(sequence, cos, sin, firsts, seconds)
    return rotated


class _Encoding(torch.autograd.Function):
    """Adds a table in float32 to a sequence in a narrower dtype, slab by slab."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor) -> Tensor:
        output = torch.empty(x.shape, dtype=x.dtype)
        for of_x, of_output, rows in _slabs(x, output):
            of_output.copy_(of_x + table[rows])
        return output

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, None]:
        return d_output, None


class _Rotation(torch.autograd.Function):
    """Its backward pass is the rotation by the opposite angle, which is differentiable in turn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, firsts: slice, seconds: slice) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.pairs = firsts, seconds
        return _rotated(x, cos, sin, firsts, seconds)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, None, None, None, None]:
        cos, sin = ctx.saved_tensors
        rotated: Tensor = _Rotation.apply(d_output, cos, -sin, *ctx.pairs)
        return rotated, None, None, None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, firsts: slice, seconds: slice) -> Tensor:
    """Return x with a cos - b sin in place of a, and a sin + b cos in place of b."""
    output = torch.empty(x.shape, dtype=x.dtype)
    whole, narrow = 2 * cos.shape[-1] == x.shape[-1], x.dtype != cos.dtype
    for of_x, of_output, rows in _slabs(x, output):
        turned = torch.empty(of_x.shape, dtype=cos.dtype) if narrow else of_output
        of_x, c, s = of_x.to(cos.dtype), cos[rows], sin[rows]
        if not whole:  # some features stay as they are
            turned.copy_(of_x)
        a, b = of_x[..., firsts], of_x[..., seconds]
        torch.mul(a, c, out=turned[..., firsts]).addcmul_(b, s, value=-1)
        torch.mul(b, c, out=turned[..., seconds]).addcmul_(a, s)
        if narrow:
            of_output.copy_(turned)
    return output


def _slabs(x: Tensor, output: Tensor) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Yield parts of (..., L, D) that stay in cache with what is made of them, and which rows they are."""
    length, width = x.shape[-2:]
    if x.numel() <= _SLAB:
        yield x, output, slice(None)
        return
    rows = max(1, _SLAB // width)
    for of_x, of_output in zip(x.flatten(0, -3), output.view(-1, length, width), strict=True):
        for first in range(0, length, rows):
            part = slice(first, first + rows)
            yield of_x[part], of_output[part], part


@functools.lru_cache(maxsize=_TABLES)
@torch.inference_mode(False)  # its tensors could be kept for no backward pass
def _waves(length: int, width: int, base: float, first_position: float, dtype: torch.dtype) -> Tensor:
    """Return (L, E): sines of the position in even columns, and cosines in odd ones."""
    column = torch.arange(width)
    rate = base ** -(column // 2 * 2 / torch.full_like(column, width, dtype=dtype))
    angle = (first_position + torch.arange(length, dtype=dtype))[:, None] * rate
    table = torch.empty(length, width, dtype=dtype)
    table[:, 0::2], table[:, 1::2] = angle[:, 0::2].sin(), angle[:, 1::2].cos()
    return table


@functools.lru_cache(maxsize=_TABLES)
@torch.inference_mode(False)
def _turns(
    length: int, pairs: int, denominator: int, base: float, first_position: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the cosine and the sine, (L, pairs), of each position's angle for each pair of features."""
    rate = base ** -(torch.arange(pairs, dtype=dtype) / denominator)
    angle = (first_position + torch.arange(length, dtype=dtype))[:, None] * rate
    return angle.cos(), angle.sin()
