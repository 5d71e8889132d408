r"""The Gaussian kernel by fused attention where its square may be expanded, and directly where it may not. Of `fused`.

With keys and queries around the keys' mean c, $\tilde q = w (q - c)$ and $\tilde k = w (k - c)$,

$$-\tfrac12 \lVert w (q - k) \rVert^2 = \tilde q \cdot \tilde k - \tfrac12 \lVert \tilde k \rVert^2 - \tfrac12 \lVert
\tilde q \rVert^2.$$

The last term is the same for all keys and leaves the softmax as it is. The middle one becomes a column: 1 beside a
query, $-\lVert \tilde k \rVert^2 / 2$ beside a key. Fused attention with the scale 1 does the rest.

The expansion errs by about $u r$, where u is the unit roundoff and

$$r = \max \lVert \tilde q \rVert \max \lVert \tilde k \rVert + \tfrac12 \max \lVert \tilde k \rVert^2.$$

The direct form errs by u times the score, which is small for near points far from the mean. So it is computed

- in float32, or in float64 for float64, where r <= 2, and in float32 for bfloat16 and float16 where r <= 64;
- in float64 where r <= 2^20, for all but float64: the error is below that of the direct form in float32;
- directly otherwise, and always where gradients are asked. A gradient is a sum of differences q - k: where these are
  small or 0, the products of the expansion leave rounding errors of the size of q.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from attention_harness.implementations._fused_build import cut, gradients_by_spans, scores_by_spans, tiles
from attention_harness.implementations._fused_pairs import attend_to_pairs
from attention_harness.implementations._fused_products import attend_by_products

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness.implementations._fused_visibility import Visibility

_NEAR, _NEAR_IN_HALF, _NEAR_IN_DOUBLE = 2.0, 64.0, 2.0**20  # largest r


def attend_by_distance(query: Tensor, key: Tensor, value: Tensor, w: Tensor, visible: Visibility) -> Tensor:
    """Return softmax(-|w (q - k)|^2 / 2 + bias) V for query (B, H, Lq, D), key (B, Hk, Lk, D)."""
    narrow = torch.promote_types(query.dtype, torch.float32)
    learned = (query, key, value, w) if visible.bias is None else (query, key, value, w, visible.bias)
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in learned)):
        spread = _spread(query, key, w)
        if spread <= (_NEAR if query.element_size() >= 4 else _NEAR_IN_HALF):
            return _expanded(query, key, value, w, visible, narrow)
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


class PairSquares:
    """f = (q - k)^2."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        self.query, self.key = query, key

    def scores(self, weight: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        """Return the sums."""
        of_query, of_key = cut((self.query,), first, end), cut((self.key,), start, stop)
        found = scores_by_spans(_all_scores, of_query, of_key, weight)
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


def _all_gradients(query: Tensor, key: Tensor, d_scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    difference = query[:, :, None] - key[:, None]
    slope = difference * d_scores[..., None]
    return (slope * difference).sum(2), 2 * slope.sum(2), -2 * slope.sum(1)
