"""Attention by scores from features of pairs, a block of queries at a time, and its backward pass. Of `fused`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from attention_harness.implementations._fused_build import tile_elements
from attention_harness.implementations._fused_tanh import PairTanh
from attention_harness.implementations._fused_visibility import Visibility, part

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness.implementations._fused_build import PairFeatures

_FEWEST = 32  # queries of a block: fewer make slow products
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

    Query, key and weight are in float32 or better; the output has the value's dtype.
    """
    return _Pairs.apply(query, key, weight, value, visible.bias, visible, features)


class _Pairs(torch.autograd.Function):
    """Keeps nothing of (Lq, Lk): the backward pass computes features, scores and weights of each block again."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        weight: Tensor,
        value: Tensor,
        bias: Tensor | None,
        visible: Visibility,
        kind: type[PairFeatures],
    ) -> Tensor:
        batch, heads, queries, _ = query.shape
        flat_query, flat_key, flat_value = _flat(query, heads), _flat(key, heads), _flat(value.to(query.dtype), heads)
        features = kind(flat_query, flat_key)
        output = flat_query.new_zeros(batch * heads, queries, value.shape[-1])
        for first, end, start, stop in visible.blocks(block_rows(visible, batch * heads)):
            if start == stop:
                continue
            p = _weights(features, weight, visible, (batch, heads), first, end, start, stop)
            output[:, first:end] = p @ flat_value[:, start:stop]
        ctx.visible, ctx.features = visible, features if any(ctx.needs_input_grad) else None
        ctx.save_for_backward(weight, key, value, bias)
        return output.unflatten(0, (batch, heads)).to(value.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Any, ...]:
        weight, key, value, bias = ctx.saved_tensors
        visible, features = ctx.visible, ctx.features
        batch, heads = d_output.shape[:2]
        wide = weight.dtype
        d_output = d_output.to(wide).flatten(0, 1)
        flat_value = _flat(value.to(wide), heads)
        d_query, d_key, d_value = (torch.zeros_like(x) for x in (features.query, features.key, flat_value))
        d_weight = torch.zeros_like(weight)
        d_bias = None if bias is None or not ctx.needs_input_grad[4] else bias.new_zeros(bias.shape, dtype=wide)
        for first, end, start, stop in visible.blocks(block_rows(visible, batch * heads)):
            if start == stop:
                continue
            p = _weights(features, weight, visible, (batch, heads), first, end, start, stop)
            d_rows = d_output[:, first:end]
            d_value[:, start:stop] += p.mT @ d_rows
            d_scores = d_rows @ flat_value[:, start:stop].mT
            d_scores = p * (d_scores - (p * d_scores).sum(-1, keepdim=True))
            if d_bias is not None:
                target = part(d_bias, first, end, start, stop)
                target += d_scores.unflatten(0, (batch, heads)).sum_to_size(target.shape)
            products, d_rows_query, d_rows_key = features.gradients(d_scores, first, end, start, stop)
            d_weight += products.sum((0, 1))
            d_query[:, first:end] = d_rows_query
            d_key[:, start:stop] += d_rows_key
        return (
            (d_query * weight).unflatten(0, (batch, heads)),
            _of_key_heads(d_key * weight, key),
            d_weight,
            _of_key_heads(d_value, value).to(value.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
            None,
        )


def block_rows(visible: Visibility, count: int) -> int:
    """Return how many queries a block has: its scores, of all heads together, fill the second-level cache."""
    size = max(_FEWEST, 2 * tile_elements() // max(count * visible.keys, 1))
    return min(size, _BAND) if visible.banded else size


def _flat(x: Tensor, heads: int) -> Tensor:
    """Return (B * H, L, D), with each key head repeated for its neighbours."""
    repeats = heads // x.shape[1] if x.shape[1] else 1
    return (x if repeats == 1 else x.repeat_interleave(repeats, dim=1)).flatten(0, 1).contiguous()


def _of_key_heads(x: Tensor, like: Tensor) -> Tensor:
    """Return (B, Hk, L, D): sums over the query heads that share a key head."""
    batch, heads = like.shape[:2]
    repeats = x.shape[0] // (batch * heads) if batch * heads else 1
    return x.unflatten(0, (batch, heads, repeats)).sum(2)


def _weights(
    features: PairFeatures,
    weight: Tensor,
    visible: Visibility,
    outer: tuple[int, int],
    first: int,
    end: int,
    start: int,
    stop: int,
) -> Tensor:
    """Return the weights of a block, (B * H, queries, keys); outer: B and H."""
    scores = features.scores(weight, first, end, start, stop).unflatten(0, outer)
    return softmax(scores, visible, first, end, start, stop).flatten(0, 1)


def softmax(scores: Tensor, visible: Visibility, first: int, end: int, start: int, stop: int) -> Tensor:
    """Return the weights of the keys that are seen; a row that sees none is zero. May write to the scores."""
    if visible.bias is not None:
        scores = scores + part(visible.bias, first, end, start, stop)
    seen = visible.seen(first, end, start, stop, scores.device)
    if seen is not None:
        scores = scores.masked_fill_(~seen, -torch.inf)
    if not visible.conditional:
        return scores.softmax(-1)
    empty = scores.amax(-1, keepdim=True) == -torch.inf
    return scores.masked_fill_(empty, 0.0).softmax(-1).masked_fill_(empty, 0.0)
