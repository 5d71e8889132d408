r"""Sums over hidden features of tanh(q + k) for all pairs, without a tensor of (Lq, Lk, A). Of `fused`.

tanh of a sum needs no transcendental function for a pair: with exponentials of queries and keys alone,

$$\tanh(q + k) = \frac{n}{n + 2}, \quad n = e^{2q} e^{2k} - 1.$$

n is summed from terms that never exceed $e^{2(q + k)} + 1$, so that little is lost where q + k is near 0:

$$n = (e^{2q} - 1) e^{2k} + (e^{2k} - 1) \text{ for } q > 0, \quad e^{2q} (e^{2k} - 1) + (e^{2q} - 1) \text{ else.}$$

The factors come from `exp` and `expm1`. Where |q + k| is at least half of |q| + |k| the result errs by 4.9 units in the
last place at most, of 10 million pairs each of |q| and |k| up to 0.0001 to 20. Where they cancel further it errs like
the tanh of q and k that were rounded up to three times more; the layers that they come from have rounded them more
often. Beyond |q| or |k| of 20 the exponentials could overflow: then tanh is taken of each sum.

A pair's feature then costs six multiplications and additions and one division. Compiled, they stay in registers; where
nothing can compile, or the problem is small, they go through a buffer of half the second-level cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from attention_harness.implementations._fused_build import cut, gradients_by_spans, scores_by_spans, tiles

if TYPE_CHECKING:
    from torch import Tensor

_FARTHEST = 20.0  # e^(2 * 20) squared is 5e34: below the largest float32


class PairTanh:
    """f = tanh(q + k)."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        self.query, self.key = query, key
        some = query.numel() > 0 and key.numel() > 0
        self.factored = some and bool((query.abs().amax() <= _FARTHEST) & (key.abs().amax() <= _FARTHEST))
        self.of_query: tuple[Tensor, ...] = (query,)
        self.of_key: tuple[Tensor, ...] = (key,)
        if self.factored:
            self.of_query, self.of_key = _query_factors(query), _key_factors(key)

    def scores(self, weight: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        """Return the sums."""
        of_query, of_key = cut(self.of_query, first, end), cut(self.of_key, start, stop)
        found = scores_by_spans(_all_scores, of_query, of_key, weight) if self.factored else None
        return _tiled_scores(of_query, of_key, weight) if found is None else found

    def gradients(self, d_scores: Tensor, first: int, end: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums; the derivative is 1 - tanh^2 by q and by k alike."""
        of_query, of_key = cut(self.of_query, first, end), cut(self.of_key, start, stop)
        found = gradients_by_spans(_all_gradients, of_query, of_key, d_scores) if self.factored else None
        return _tiled_gradients(of_query, of_key, d_scores) if found is None else found


def _query_factors(query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y and z of n = x e^2k + (y (e^2k - 1) + z)."""
    grown, less_one = (2 * query).exp(), (2 * query).expm1()
    positive = query > 0
    zero = torch.zeros((), dtype=query.dtype)
    return less_one.where(positive, zero), grown.masked_fill(positive, 1.0), less_one.masked_fill(positive, 0.0)


def _key_factors(key: Tensor) -> tuple[Tensor, Tensor]:
    return (2 * key).exp(), (2 * key).expm1()


# --- compiled


def _features(x: Tensor, y: Tensor, z: Tensor, grown: Tensor, less_one: Tensor) -> Tensor:
    x, y, z, grown, less_one = x[:, :, None], y[:, :, None], z[:, :, None], grown[:, None], less_one[:, None]
    n = x * grown + (y * less_one + z)
    return n / (n + 2)


def _all_scores(x: Tensor, y: Tensor, z: Tensor, grown: Tensor, less_one: Tensor, weight: Tensor) -> Tensor:
    return (_features(x, y, z, grown, less_one) * weight).sum(-1)


def _all_gradients(
    x: Tensor, y: Tensor, z: Tensor, grown: Tensor, less_one: Tensor, d_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    t = _features(x, y, z, grown, less_one)
    d_scores = d_scores[..., None]
    slope = d_scores * (1 - t * t)
    return (d_scores * t).sum(2), slope.sum(2), slope.sum(1)


# --- through a buffer


def _tile(of_query: tuple[Tensor, ...], of_key: tuple[Tensor, ...], n: slice, i: slice, j: slice) -> Tensor:
    """Return t of some pairs."""
    of_query, of_key = tuple(x[n, i, None] for x in of_query), tuple(x[n, None, j] for x in of_key)
    if len(of_query) == 1:
        return (of_query[0] + of_key[0]).tanh_()
    (x, y, z), (grown, less_one) = of_query, of_key
    t = torch.addcmul(z, y, less_one).addcmul_(x, grown)
    return t.div_(t + 2)


def _tiled_scores(of_query: tuple[Tensor, ...], of_key: tuple[Tensor, ...], weight: Tensor) -> Tensor:
    (count, queries, width), keys = of_query[0].shape, of_key[0].shape[1]
    scores = of_query[0].new_zeros(count, queries, keys)
    for n, i, j in tiles(count, queries, keys, width):
        scores[n, i, j] = _tile(of_query, of_key, n, i, j) @ weight
    return scores


def _tiled_gradients(
    of_query: tuple[Tensor, ...], of_key: tuple[Tensor, ...], d_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    (count, queries, width), keys = of_query[0].shape, of_key[0].shape[1]
    products, d_query, d_key = (torch.zeros_like(x) for x in (of_query[0], of_query[0], of_key[0]))
    one = torch.ones((), dtype=d_scores.dtype)
    for n, i, j in tiles(count, queries, keys, width):
        t = _tile(of_query, of_key, n, i, j)
        part = d_scores[n, i, j, None]
        products[n, i] += torch.bmm(part.flatten(0, 1).mT, t.flatten(0, 1)).view(t.shape[0], t.shape[1], width)
        slope = torch.addcmul(one, t, t, value=-1, out=t).mul_(part)
        d_query[n, i] += slope.sum(2)
        d_key[n, j] += slope.sum(1)
    return products, d_query, d_key
