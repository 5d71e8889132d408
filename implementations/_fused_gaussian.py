r"""The Gaussian kernel by fused attention where its square may be expanded, and directly where it may not. Of `fused`.

With keys and queries around the keys' mean c, $\tilde q = w (q - c)$ and $\tilde k = w (k - c)$,

$$-\tfrac12 \lVert w (q - k) \rVert^2 = \tilde q \cdot \tilde k - \tfrac12 \lVert \tilde k \rVert^2 - \tfrac12 \lVert
\tilde q \rVert^2.$$

The last term is the same for all keys and leaves the softmax as it is. The middle one becomes a column: 1 beside a
query, $-\lVert \tilde k \rVert^2 / 2$ beside a key. Fused attention with the scale 1 does the rest.

The expansion errs by about $u r$, where u is the unit roundoff and

$$r = \max \lVert \tilde q \rVert \max \lVert \tilde k \rVert + \tfrac12 \max \lVert \tilde k \rVert^2.$$

The direct form errs by u times the score, which is small for near points far from the mean. So it is computed

- directly where there are few features, since this costs less, and where gradients are asked. A gradient is a sum of
  differences q - k: where these are small or 0, the products of the expansion leave rounding errors of the size of q;
- in float32, or in float64 for float64, where r <= 2, and in float32 for bfloat16 and float16 where r <= 64;
- in float32, too, where no query has a key so near that its score is below r / 4, which the scores themselves tell;
- in float64 where r <= 2^20, for all but float64: the error is below that of the direct form in float32;
- directly otherwise, and always with a softcap or sinks, to which the last term matters.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from attention_harness.implementations._fused_blocks import block, weigh
from attention_harness.implementations._fused_build import (
    cut,
    gradients_by_spans,
    scores_by_spans,
    tile_elements,
    tiles,
)
from attention_harness.implementations._fused_pairs import attend_to_pairs
from attention_harness.implementations._fused_products import attend_by_products

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness.implementations._fused_visibility import Visibility

_NEAR, _NEAR_IN_HALF, _NEAR_IN_DOUBLE = 2.0, 64.0, 2.0**20  # largest r
_CANCELLED = 4.0  # largest r over the smallest score
_FEW = 16  # features that a compiled loop over keys adds up faster than a product does


def attend_by_distance(query: Tensor, key: Tensor, value: Tensor, w: Tensor, visible: Visibility) -> Tensor:
    """Return softmax(-|w (q - k)|^2 / 2 + bias) V for query (B, H, Lq, D), key (B, Hk, Lk, D)."""
    narrow = torch.promote_types(query.dtype, torch.float32)
    learned = [x for x in (query, key, value, w, visible.bias, visible.relative_bias) if x is not None]
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in learned)
    if query.shape[-1] > _FEW and not visible.beyond_kernels and not learning:
        spread = _spread(query, key, w)
        if spread <= (_NEAR if query.element_size() >= 4 else _NEAR_IN_HALF):
            return _expanded(query, key, value, w, visible, narrow)
        if value.dtype == torch.float32:
            answer = _expanded_where_far(query, key, value, w, visible)
            if answer is not None:
                return answer
        if spread <= _NEAR_IN_DOUBLE and narrow == torch.float32:
            return _expanded(query, key, value, w, visible, torch.float64)
    query, key, w = (x.to(narrow) for x in (query, key, w))
    weight = (w * w * -0.5).expand(query.shape[-1])
    return attend_to_pairs(query, key, weight, value, visible, PairSquares)


def _spread(query: Tensor, key: Tensor, w: Tensor) -> float:
    """Return r; infinity without queries or keys."""
    if query.numel() == 0 or key.numel() == 0:
        return math.inf
    query, key, w = (x.double() if x.dtype == torch.float64 else x.float() for x in (query, key, w))
    centre = key.mean((-3, -2), keepdim=True)
    of_query, of_key = (torch.linalg.vector_norm(x - centre, dim=-1).max() for x in (query, key))
    return float(w.square() * (of_query * of_key + 0.5 * of_key * of_key))


def _expanded(query: Tensor, key: Tensor, value: Tensor, w: Tensor, visible: Visibility, dtype: torch.dtype) -> Tensor:
    """Return the answer by products in a dtype."""
    given = value.dtype
    query, key, value, w = (x.to(dtype) for x in (query, key, value, w))
    centre = key.mean((-3, -2), keepdim=True)
    query, key = w * (query - centre), w * (key - centre)
    column = key.square().sum(-1, keepdim=True) * -0.5
    bias = visible.bias if visible.bias is None else visible.bias.to(dtype)
    if not visible.conditional and key.shape[1] == query.shape[1]:  # as a bias, it makes no row longer
        return attend_by_products(query, key, value, replace(visible, bias=column.mT), scale=1.0).to(given)
    rest = -(query.shape[-1] + 1) % 8  # rows in whole vectors
    query = torch.cat((query, query.new_ones(*query.shape[:-1], 1), query.new_zeros(*query.shape[:-1], rest)), -1)
    key = torch.cat((key, column, key.new_zeros(*key.shape[:-1], rest)), -1)
    return attend_by_products(query, key, value, replace(visible, bias=bias), scale=1.0).to(given)


def _expanded_where_far(query: Tensor, key: Tensor, value: Tensor, w: Tensor, visible: Visibility) -> Tensor | None:
    """Return the answer by products in float32, None once a query has a key so near that its score cancels."""
    if query.numel() == 0 or key.numel() == 0:
        return None
    batch, heads = query.shape[:2]
    centre = key.mean((-3, -2), keepdim=True)
    query, key, value = ((x * f).flatten(0, 1) for x, f in ((query - centre, w), (key - centre, w), (value, 1)))
    column = key.square().sum(-1)[:, None] * -0.5
    of_query, of_key = query.square().sum(-1) * 0.5, -column.amin(-1)
    largest = 2 * (of_query * of_key).sqrt() + of_key
    output = query.new_zeros(*query.shape[:2], value.shape[-1])
    for first, end, start, stop in visible.blocks(block(visible, batch * heads, 2 * tile_elements())):
        if start == stop:
            continue
        scores = torch.baddbmm(column[..., start:stop], query[:, first:end], key[:, start:stop].mT)
        nearest = of_query[:, first:end] - scores.amax(-1)
        if not bool((nearest * _CANCELLED >= largest[:, first:end]).all()):
            return None
        weights, _ = weigh(scores.unflatten(0, (batch, heads)), visible, first, end, start, stop)
        output[:, first:end] = weights.flatten(0, 1) @ value[:, start:stop]
    return output.unflatten(0, (batch, heads))


class PairSquares:
    """f = (q - k)^2."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        self.query, self.key = query, key

    def scores(self, weight: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        """Return the sums."""
        of_query, of_key = cut((self.query,), first, end), cut((self.key,), start, stop)
        few = self.query.shape[-1] <= _FEW
        found = scores_by_spans(_scores_of_few if few else _all_scores, of_query, of_key, weight, transposed=few)
        if found is not None:
            return found
        (query,), (key,) = of_query, of_key
        scores = query.new_zeros(len(query), end - first, stop - start)
        for n, i, j in tiles(len(query), end - first, stop - start, query.shape[-1]):
            difference = query[n, i, None] - key[n, None, j]
            scores[n, i, j] = difference.square_() @ weight
        return scores

    def gradients(self, d_scores: Tensor, first: int, end: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums; the derivatives are 2 (q - k) and its opposite."""
        of_query, of_key = cut((self.query,), first, end), cut((self.key,), start, stop)
        found = gradients_by_spans(_all_gradients, of_query, of_key, d_scores)
        if found is not None:
            return found
        (query,), (key,) = of_query, of_key
        products, d_query, d_key = (torch.zeros_like(x) for x in (query, query, key))
        for n, i, j in tiles(len(query), end - first, stop - start, query.shape[-1]):
            difference = query[n, i, None] - key[n, None, j]
            slope = difference * (2 * d_scores[n, i, j, None])
            d_query[n, i] += slope.sum(2)
            d_key[n, j] -= slope.sum(1)
            products[n, i] += slope.mul_(difference).sum(2) / 2
        return products, d_query, d_key


def _all_scores(query: Tensor, key: Tensor, weight: Tensor) -> Tensor:
    difference = query[:, :, None] - key[:, None]
    return (difference * difference * weight).sum(-1)


def _scores_of_few(query: Tensor, key: Tensor, weight: Tensor) -> Tensor:
    """Add up feature by feature, so that a vector holds keys; they come as (N, A, Lk)."""
    scores = query.new_zeros(())
    for a in range(query.shape[-1]):
        difference = query[:, :, a, None] - key[:, a, None]
        scores = scores + difference * difference * weight[a]
    return scores


def _all_gradients(query: Tensor, key: Tensor, d_scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    difference = query[:, :, None] - key[:, None]
    slope = difference * d_scores[..., None]
    return (slope * difference).sum(2), 2 * slope.sum(2), -2 * slope.sum(1)
