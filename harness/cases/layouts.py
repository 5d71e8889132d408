"""Memory layouts: the same numbers, elsewhere in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def _transposed(t: torch.Tensor) -> torch.Tensor:
    """Swap the last two axes but one in memory, as (B, L, H, D) read as (B, H, L, D); a matrix by columns."""
    if t.ndim < 2:
        return t
    axes = (-2, -1) if t.ndim == 2 else (-3, -2)
    return t.transpose(*axes).contiguous().transpose(*axes)


def _expanded(t: torch.Tensor) -> torch.Tensor:
    """Repeat the first entry of the first axis by a stride of zero."""
    return t[:1].expand_as(t) if t.ndim and t.shape[0] else t


def _offset(t: torch.Tensor) -> torch.Tensor:
    """Cut the tensor out of a larger buffer whose other numbers are NaN, or as wrong as their type allows."""
    import torch

    if t.ndim == 0:
        return t
    poison = math.nan if t.is_floating_point() else (True if t.dtype == torch.bool else 2**40)
    buffer = torch.full((*t.shape[:-1], t.shape[-1] + 3), poison, dtype=t.dtype, device=t.device)
    view = buffer[..., 2 : 2 + t.shape[-1]]
    view.copy_(t)
    return view


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda t: t.contiguous(),
    "transposed": _transposed,
    "expanded": _expanded,
    "offset": _offset,
}
