"""Numbers that come as codes of 8 bits with scales, made into tensors of the case's dtype. Of `eager`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def dequantised(codes: Tensor, scale: Tensor | None, dtype: str) -> Tensor:
    """Return codes (B, H, L, D) times scales (1), (B, H) or (B, H, blocks), multiplied in the scales' dtype."""
    import torch

    if scale is None:
        return codes  # they are numbers
    block = 16  # positions that share a scale, where a head has several
    if scale.ndim == 3:
        scale = scale.repeat_interleave(block, -1)[..., : codes.shape[-2]]
    factor = scale if scale.ndim == 1 else scale.reshape(*scale.shape, *[1] * (codes.ndim - scale.ndim))
    return (codes.to(scale.dtype) * factor).to(getattr(torch, dtype))
