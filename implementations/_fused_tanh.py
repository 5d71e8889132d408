r"""Sums over hidden features of tanh(q + k) for all pairs, without a tensor of (Lq, Lk, A). Of `fused`.

tanh of a sum needs no transcendental function for a pair: with exponentials of queries and keys alone,

$$\tanh(q + k) = \frac{n}{n + 2}, \quad n = e^{2q} e^{2k} - 1.$$

n is summed from terms that never exceed $e^{2(q + k)} + 1$, so that little is lost where q + k is near 0:

$$n = (e^{2q} - 1) e^{2k} + (e^{2k} - 1) \text{ for } q > 0, \quad n = e^{2q} (e^{2k} - 1) + (e^{2q} - 1) \text{ else.}$$

The factors come from `exp` and `expm1`. Its error is that of rounding q + k and of a tanh that errs by few units in the
last place; measured in `tests/implementations`. Beyond |q| or |k| of 20 the exponentials could overflow: then tanh is
taken of each sum.

A pair's feature then costs six multiplications and additions and one division. Compiled, they stay in registers; where
nothing can compile, or the problem is small, they go through a buffer of the size of half the second-level cache.
"""

from __future__ import annotations

import functools
import os
import types
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

_FARTHEST = 20.0  # e^(2 * 20) squared is 5e34: below the largest float32
# Inductor stores an intermediate that is read twice and is made from more than four tensors: here, all of (Lq, Lk, A).
_IN_REGISTERS = {"realize_reads_threshold": 64, "realize_opcount_threshold": 512}
_WORTH_BUILDING = 1 << 18  # features of pairs in a call: fewer are done before a compiled function has checked its guards


class PairFeatures(Protocol):
    """f(q_ia, k_ja) for query (N, Lq, A) and key (N, Lk, A), never stored as a whole."""

    query: Tensor
    key: Tensor

    def __init__(self, query: Tensor, key: Tensor) -> None: ...

    def scores(self, weight: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        """Return sum_a w_a f_ija for a block of queries and a span of keys."""

    def gradients(self, d_scores: Tensor, first: int, end: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return sum_j ds_ij f_ija, sum_j ds_ij df_ija/dq_ia and sum_i ds_ij df_ija/dk_ja."""


class PairTanh:
    """f = tanh(q + k)."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        self.query, self.key = query, key
        self.factored = bool((query.abs().amax() <= _FARTHEST) & (key.abs().amax() <= _FARTHEST)) if _some(
            query, key
        ) else False
        if self.factored:
            self.of_query, self.of_key = _query_factors(query), _key_factors(key)
        else:
            self.of_query, self.of_key = (query,), (key,)

    def scores(self, weight: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        """Return the sums."""
        of_query, of_key = _cut(self.of_query, first, end), _cut(self.of_key, start, stop)
        build = _built("scores", of_query, of_key) if self.factored else None
        return _tiled_scores(of_query, of_key, weight) if build is None else build(*of_query, *of_key, weight)

    def gradients(self, d_scores: Tensor, first: int, end: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums; the derivative is 1 - tanh^2 by q and by k alike."""
        of_query, of_key = _cut(self.of_query, first, end), _cut(self.of_key, start, stop)
        build = _built("gradients", of_query, of_key) if self.factored else None
        if build is None:
            return _tiled_gradients(of_query, of_key, d_scores)
        return build(*of_query, *of_key, d_scores.contiguous())


def _some(*tensors: Tensor) -> bool:
    return all(x.numel() > 0 for x in tensors)


def _query_factors(query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y and z of n = x e^2k + (y (e^2k - 1) + z)."""
    grown, less_one = (2 * query).exp(), (2 * query).expm1()
    positive = query > 0
    zero = torch.zeros((), dtype=query.dtype)
    return less_one.where(positive, zero), grown.masked_fill(positive, 1.0), less_one.masked_fill(positive, 0.0)


def _key_factors(key: Tensor) -> tuple[Tensor, Tensor]:
    return (2 * key).exp(), (2 * key).expm1()


def _cut(factors: tuple[Tensor, ...], first: int, end: int) -> tuple[Tensor, ...]:
    """Return a part of the rows, dense: what is compiled is compiled for such strides."""
    return tuple(x[:, first:end].contiguous() for x in factors)


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


def _built(name: str, of_query: tuple[Tensor, ...], of_key: tuple[Tensor, ...]) -> Callable[..., Any] | None:
    """Return the compiled function for such tensors; None where it cannot be had or is not worth a call."""
    count, queries, width = of_query[0].shape
    keys = of_key[0].shape[1]
    if count * queries * keys * width < _WORTH_BUILDING:
        return None
    ones = tuple(length == 1 for length in (count, queries, keys, width))
    return _build(name, of_query[0].dtype, ones, torch.get_num_threads())


@functools.cache
def _build(name: str, dtype: torch.dtype, ones: tuple[bool, ...], threads: int) -> Callable[..., Any] | None:
    """Return the function compiled for any lengths; for lengths of 1, torch.compile makes graphs of their own."""
    del threads  # of which there is a graph each, too
    if not can_build():
        return None
    function = {"scores": _all_scores, "gradients": _all_gradients}[name]
    # torch.compile counts graphs towards its limit by code object: a copy for each structure stays far from it
    own = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    compiled: Callable[..., Any] = torch.compile(own, fullgraph=True, dynamic=True, options=_IN_REGISTERS)
    # Lengths that are equal in the first call would be taken to be equal in all. Inductor plans its loops by the lengths
    # of that call, which are therefore of the usual size.
    typical = (2, 160, 192, 256)
    count, queries, keys, width = (1 if one else length for one, length in zip(ones, typical, strict=True))
    of_query = [torch.zeros(count, queries, width, dtype=dtype) for _ in range(3)]
    of_key = [torch.zeros(count, keys, width, dtype=dtype) for _ in range(2)]
    last = torch.zeros(width, dtype=dtype) if name == "scores" else torch.zeros(count, queries, keys, dtype=dtype)
    compiled(*of_query, *of_key, last)
    return compiled


@functools.cache
def can_build() -> bool:
    """Return whether torch finds a C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


# --- through a buffer


@functools.cache
def tile_elements() -> int:
    """Return how many float32 numbers fill half of the second-level cache of a core; of 1 MiB if that is not known."""
    try:
        size = os.sysconf("SC_LEVEL2_CACHE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system without this name
        size = 0
    return (size if size > 0 else 1 << 20) // 8


def tiles(count: int, queries: int, keys: int, width: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield parts of the pairs whose features fit two buffers."""
    room = max(1, tile_elements() // 2 // max(width, 1))
    of_keys = min(keys, room)
    of_queries = min(queries, max(1, room // max(of_keys, 1)))
    of_count = min(count, max(1, room // max(of_keys * of_queries, 1)))
    for n in range(0, count, max(of_count, 1)):
        for i in range(0, queries, max(of_queries, 1)):
            for j in range(0, keys, max(of_keys, 1)):
                yield slice(n, n + of_count), slice(i, i + of_queries), slice(j, j + of_keys)


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
