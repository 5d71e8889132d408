"""Attention by scores from features of pairs, a block of queries at a time, and their backward pass. Of `fused`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from attention_harness.implementations._fused_blocks import attend_to_scores, block, in_dtype
from attention_harness.implementations._fused_build import tile_elements
from attention_harness.implementations._fused_tanh import PairTanh

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness.implementations._fused_build import PairFeatures
    from attention_harness.implementations._fused_visibility import Visibility

_BAND = 64  # queries of a block where causality or a window gives each block other keys


def attend_to_pairs(
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    value: Tensor,
    visible: Visibility,
    features: type[PairFeatures] = PairTanh,
) -> Tensor:
    """Return softmax(sum_a w_a f(q_ia, k_ja)) V for query (B, H, Lq, A), key (B, Hk, Lk, A), weight (A).

    Query, key and weight are in float32 or better; the output has the value's dtype. The backward
    pass computes the features of each block again.
    """
    batch, heads = query.shape[:2]
    key = key if key.shape[1] == heads else key.repeat_interleave(heads // key.shape[1], dim=1)
    found = features(_flat(query.detach()), _flat(key.detach()))

    def score(rows: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        scores: Tensor = _Scores.apply(rows, key[:, :, start:stop], weight, found, (first, end, start, stop))
        if visible.softcap is None:
            return scores
        return (scores / visible.softcap).tanh() * visible.softcap

    size = min(block(visible, batch * heads, 2 * tile_elements()), _BAND if visible.banded else visible.queries)
    visible = in_dtype(visible, query.dtype)
    output, *_ = attend_to_scores(score, query, value.to(query.dtype), visible, size, sources=(query, key, weight))
    return output.to(value.dtype)


class _Scores(torch.autograd.Function):
    """The scores of a block, (B, H, q, k), of the block's query and key (B, H, q or k, A) and the weight."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, weight: Tensor, features: PairFeatures, block: tuple[int, int, int, int]
    ) -> Tensor:
        ctx.features, ctx.block = features, block
        ctx.save_for_backward(weight)
        if query.numel() == 0 or key.numel() == 0:
            return query.new_zeros(*query.shape[:-1], key.shape[-2])
        return features.scores(weight, *block).unflatten(0, query.shape[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_scores: Tensor) -> tuple[Any, ...]:
        (weight,) = ctx.saved_tensors
        outer = d_scores.shape[:2]
        products, d_query, d_key = ctx.features.gradients(d_scores.flatten(0, 1), *ctx.block)
        d_query, d_key = ((x * weight).unflatten(0, outer) for x in (d_query, d_key))
        return d_query, d_key, products.sum((0, 1)), None, None


def _flat(x: Tensor) -> Tensor:
    """Return (B * H, L, A), dense."""
    return x.flatten(0, 1).contiguous()
