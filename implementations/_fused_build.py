"""Loops over pairs: compiled, or through a buffer of the size of a part of the second-level cache. Of `fused`."""

from __future__ import annotations

import functools
import os
import threading
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

# Inductor stores an intermediate that is read twice and is made from more than four tensors: here, all of (Lq, Lk, A).
_IN_REGISTERS: dict[str, str | int | bool | Callable[..., Any]] = {
    "realize_reads_threshold": 64,
    "realize_opcount_threshold": 512,
}
_WORTH_BUILDING = (
    1 << 18
)  # features of pairs in a call: fewer are done before a compiled function has checked its guards
_WORTH_A_CALL = 1 << 21  # below them a call's own time shows
_BUILDING = threading.Lock()
_TYPICAL = (2, 160, 192, 256)  # lengths by which Inductor plans its loops; equal ones would be taken to be always equal


class PairFeatures(Protocol):
    """f(q_ia, k_ja) for query (N, Lq, A) and key (N, Lk, A), never stored as a whole."""

    query: Tensor
    key: Tensor

    def __init__(self, query: Tensor, key: Tensor) -> None: ...

    def scores(self, weight: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        """Return sum_a w_a f_ija for a block of queries and a span of keys."""

    def gradients(self, d_scores: Tensor, first: int, end: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return sum_j ds_ij f_ija, sum_j ds_ij df_ija/dq_ia and sum_i ds_ij df_ija/dk_ja."""


def scores_by_spans(
    function: Callable[..., Tensor],
    of_query: tuple[Tensor, ...],
    of_key: tuple[Tensor, ...],
    weight: Tensor,
    *,
    transposed: bool = False,
) -> Tensor | None:
    """Return function(*of_query, *of_key, weight) for spans of keys that stay in cache; None if it is not compiled.

    transposed: the function takes keys as (N, A, Lk), so that what lies side by side is of many keys
    """
    keys = of_key[0].shape[1]
    weight = weight.detach().contiguous()  # each stride, and whether a gradient is asked, would be another graph
    found = []
    for start, stop in _spans(keys, of_query[0]):
        span = cut(of_key, start, stop)
        build = built(function, of_query, span, scores=True, transposed=transposed)
        if build is None:
            return None
        span = tuple(x.mT.contiguous() for x in span) if transposed else span
        found.append(build(*of_query, *span, weight))
    return found[0] if len(found) == 1 else torch.cat(found, -1)


def gradients_by_spans(
    function: Callable[..., Any], of_query: tuple[Tensor, ...], of_key: tuple[Tensor, ...], d_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return the sums of function(*of_query, *of_key, d_scores) over spans; None if it is not compiled."""
    (_, queries, _), keys = of_query[0].shape, of_key[0].shape[1]
    products, d_query, d_key = (torch.zeros_like(x) for x in (of_query[0], of_query[0], of_key[0]))
    for first, end in _spans(queries, of_key[0]):
        rows = cut(of_query, first, end)
        for start, stop in _spans(keys, rows[0]):
            span = cut(of_key, start, stop)
            build = built(function, rows, span, scores=False)
            if build is None:
                return None
            parts = build(*rows, *span, d_scores[:, first:end, start:stop].contiguous())
            products[:, first:end] += parts[0]
            d_query[:, first:end] += parts[1]
            d_key[:, start:stop] += parts[2]
    return products, d_query, d_key


def _spans(length: int, others: Tensor) -> list[tuple[int, int]]:
    """Return spans of as many rows as stay in cache while others go by; of more if that is too little for a call."""
    count, other, width = others.shape
    rows = max(tile_elements() // 2 // max(width, 1), _WORTH_A_CALL // max(count * other * width, 1), 2)
    pieces = max(1, -(-length // rows))
    return [(piece * length // pieces, (piece + 1) * length // pieces) for piece in range(pieces)]


def cut(factors: tuple[Tensor, ...], first: int, end: int) -> tuple[Tensor, ...]:
    """Return a part of the rows, dense: what is compiled is compiled for such strides."""
    return tuple(x[:, first:end].contiguous() for x in factors)


def built(
    function: Callable[..., Any],
    of_query: tuple[Tensor, ...],
    of_key: tuple[Tensor, ...],
    *,
    scores: bool,
    transposed: bool = False,
) -> Callable[..., Any] | None:
    """Return function(*of_query, *of_key, weight or d_scores), compiled; None if it cannot or need not be."""
    count, queries, width = of_query[0].shape
    keys = of_key[0].shape[1]
    if count * queries * keys * width < _WORTH_BUILDING:
        return None
    ones = tuple(length == 1 for length in (count, queries, keys, width))
    numbers = len(of_query), len(of_key)
    features = width if transposed else 0
    with _BUILDING:
        return _build(function, numbers, scores, of_query[0].dtype, ones, torch.get_num_threads(), features)


@functools.cache
def _build(
    function: Callable[..., Any],
    numbers: tuple[int, int],
    scores: bool,
    dtype: torch.dtype,
    ones: tuple[bool, ...],
    threads: int,
    features: int,
) -> Callable[..., Any] | None:
    """Return the function compiled for any lengths; for lengths of 1, torch.compile makes graphs of their own.

    features: where keys are transposed, their number, for which the function is unrolled; else 0
    """
    del threads  # of which there is a graph each, too
    if not can_build():
        return None
    # torch.compile counts graphs towards its limit by code object: a copy for each structure stays far from it
    own = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    compiled: Callable[..., Any] = torch.compile(own, fullgraph=True, dynamic=True, options=_IN_REGISTERS)
    count, queries, keys, width = (1 if one else length for one, length in zip(ones, _TYPICAL, strict=True))
    width = features or width
    of_query = [torch.zeros(count, queries, width, dtype=dtype) for _ in range(numbers[0])]
    of_key = [torch.zeros(count, keys, width, dtype=dtype) for _ in range(numbers[1])]
    of_key = [x.mT.contiguous() for x in of_key] if features else of_key
    compiled(*of_query, *of_key, torch.zeros((width,) if scores else (count, queries, keys), dtype=dtype))
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
