"""Libraries that take another mask than the harness's, which is True where a query may see a key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@overload
def hidden_is_true(mask: Tensor) -> Tensor: ...
@overload
def hidden_is_true(mask: None) -> None: ...


def hidden_is_true(mask: Tensor | None) -> Tensor | None:
    """Return the mask of the opposite sense, True where a key is hidden, in the same shape; None for none."""
    return None if mask is None else ~mask


def additive_mask(
    mask: Tensor | None, dtype: torch.dtype, bias: Tensor | None = None, hidden: float = -math.inf
) -> Tensor | None:
    """Return what is added to the scores: 0 where a key is seen and `hidden` elsewhere, plus the bias; None for none.

    mask    boolean, True where a query may see a key, broadcastable to the scores (B, H, Lq, Lk)
    dtype   of the result: that of the scores
    bias    broadcastable to the scores
    hidden  of a finite number a fully masked row does not become NaN: declare what it gets, such as
            `fully_masked_rows="mean"`. Scores below that number are then weighed wrongly.
    """
    import torch

    if mask is None:
        return bias
    seen = torch.zeros((), dtype=dtype, device=mask.device) if bias is None else bias.to(dtype)
    return torch.where(mask, seen, torch.full((), hidden, dtype=dtype, device=mask.device))
