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
    """Return what is added to the scores: the bias, or 0, where a key is seen, `hidden` elsewhere; None for neither.

    mask    boolean, True where a query may see a key, broadcastable to the scores (B, H, Lq, Lk)
    dtype   of the result: that of the scores
    bias    broadcastable to the scores
    hidden  what a hidden key gets. With `torch.finfo(dtype).min` a fully masked row is the mean of its values, and no
            NaN: declare `fully_masked_rows="mean"`. With less, such as -1e4, hidden keys keep weight beside low scores.
    """
    import torch

    if mask is None:
        return None if bias is None else bias.to(dtype)
    seen = torch.zeros((), dtype=dtype, device=mask.device) if bias is None else bias.to(dtype)
    return torch.where(mask, seen, torch.full((), hidden, dtype=dtype, device=mask.device))
