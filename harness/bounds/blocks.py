"""The error bound of a long problem, over blocks of its queries: rows of the output do not depend on each other.

What is computed of a query - its scores, weights and output, with bounds and variances - depends on that query, its
rows of the options' tensors, and on all keys and values. So a block of queries is a problem of its own: tensors are
cut along the queries, and options that count places are told which queries these are. The visible keys of a
block are those of its rows, and every element is computed by the same operations; only a matrix product may add up in
another order, for BLAS chooses its kernel by the shape. Largest array of a block: `PAIRS` numbers, 8 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attention_harness.bounds.error_bound import ErrorBound, error_bounds
from attention_harness.bounds.rounding import Array
from attention_harness.model.capabilities import Arithmetic
from attention_harness.options import Place
from attention_harness.options import cut as cut_options
from attention_harness.reference.specification import Mechanism

PAIRS = 2**20
"""Numbers in the largest array of a problem, one for each pair of query and key (and feature), that is one piece."""


def pairs(known: Mechanism, sizes: Mapping[str, int]) -> int:
    """Return how many numbers the largest array of the formula has; 0 where nothing is paired."""
    if not known.scores:
        return 0
    return math.prod(sizes[axis] for axis in known.scores) * (sizes[known.features] if known.features else 1)


def splits(known: Mechanism) -> bool:
    """Whether the queries are an axis of their own: in self-attention they are the keys too."""
    return known.scores[-2:-1] == ("Lq",) and "Lq" in known.output


def blocked(
    known: Mechanism,
    tensors: Mapping[str, Array],
    options: Mapping[str, Any],
    dtype: str,
    arithmetic: Arithmetic,
    rows: int,
) -> ErrorBound:
    """Return the error bound of the output, computed over blocks of so many queries.

    That of the weights would be as large as all scores together.
    """
    outputs = [
        error_bounds(known.evaluate, *block, dtype, arithmetic, weights=False, whole=tensors)[0]
        for block in _blocks(known, tensors, options, rows)
    ]
    return _joined(outputs, known.output.index("Lq"), known.scores.index("Lq"))


def rows_of(known: Mechanism, sizes: Mapping[str, int]) -> int:
    """Return how many queries a block of at most `PAIRS` numbers has: 1 at least."""
    return max(1, PAIRS * sizes["Lq"] // max(pairs(known, sizes), 1))


def _blocks(
    known: Mechanism, tensors: Mapping[str, Array], options: Mapping[str, Any], rows: int
) -> Iterator[tuple[dict[str, Array], dict[str, Any]]]:
    lengths = {axis: n for one in known.inputs for axis, n in zip(one.axes, tensors[one.name].shape, strict=True)}
    queries, keys = (lengths[axis] for axis in known.scores[-2:])
    for start in range(0, queries, rows):
        yield _cut(known, tensors, options, slice(start, min(start + rows, queries)), keys, queries)


def _cut(
    known: Mechanism, tensors: Mapping[str, Array], options: Mapping[str, Any], part: slice, keys: int, queries: int
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the problem of some of the queries."""
    axes = {declared.name: declared.axes.index("Lq") for declared in known.inputs if "Lq" in declared.axes}
    cut = {name: x[(slice(None),) * axes[name] + (part,)] if name in axes else x for name, x in tensors.items()}
    place = Place(queries, keys, part, len(known.scores) - 2)
    return cut, cut_options(options, place) | {"place": place}


def one_block(
    known: Mechanism, tensors: Mapping[str, Array], options: Mapping[str, Any], sizes: Mapping[str, int]
) -> tuple[dict[str, Array], dict[str, Any], slice]:
    """Return the last whole block of a problem as a problem of its own, and which queries these are."""
    rows = min(rows_of(known, sizes), sizes["Lq"])
    part = slice(sizes["Lq"] - rows, sizes["Lq"])
    return *_cut(known, tensors, options, part, sizes["Lk"], sizes["Lq"]), part


def _joined(parts: Sequence[ErrorBound], axis: int, row: int) -> ErrorBound:
    """Return one error bound of those of blocks. axis: the queries in the value; row: the queries in the scores."""
    axes = {"value": axis, "bound": axis, "deviation": axis, "linear": row, "empty": row}
    axes |= {"weighing": row, "independent": row}
    joined: dict[str, Any] = {}
    for name, along in axes.items():
        found = [getattr(part, name) for part in parts]
        joined[name] = None if found[0] is None else np.concatenate(found, along)
    overflow = next((part.overflow for part in parts if part.overflow), "")
    return ErrorBound(**joined, overflow=overflow, shared=parts[0].shared)
