"""Numbers that come as codes of 8 bits with scales, made into tensors of the case's dtype. Of `eager`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BLOCK = 16  # positions that share a scale, where a head has several


def from_codes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attention: Callable[..., Any],
    dtype: str,
    query_scale: Tensor,
    key_scale: Tensor,
    value_scale: Tensor,
    **more: Any,
) -> Any:
    """Attend to the numbers that the codes stand for."""
    coded = ((query, query_scale), (key, key_scale), (value, value_scale))
    return attention(*(dequantised(codes, scale, dtype) for codes, scale in coded), **more)


def dequantised(codes: Tensor, scale: Tensor, dtype: str) -> Tensor:
    """Return codes (B, H, L, D) times scales (1), (B, H) or (B, H, blocks), multiplied in the scales' dtype."""
    import torch

    if scale.ndim == 3:
        scale = scale.repeat_interleave(BLOCK, -1)[..., : codes.shape[-2]]
    factor = scale if scale.ndim == 1 else scale.reshape(*scale.shape, *[1] * (codes.ndim - scale.ndim))
    return (codes.to(scale.dtype) * factor).to(getattr(torch, dtype))
