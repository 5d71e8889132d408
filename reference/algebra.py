"""What the algebra of a formula promises, for checks that need no oracle. A mechanism declares it, relations read it.

A mechanism whose output is the weighted sum of its values needs to say nothing of how it fetches them. What it does say
of its scores makes a relation possible that is otherwise not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arrays = Mapping[str, Any]
Sizes = Mapping[str, int]

SIDE = 2.0**4
"""Of an entry of a pattern."""
LARGE = 2.0**10
"""Of a score, or of a factor of it, that decides between keys."""


@dataclass(frozen=True)
class Fetched:
    r"""What each key gives alone: $O_i = o_i + \sum_h \sum_j P_{hij} F_{hij}$.

    parts    F (B, heads or 1, Lq or 1, Lk, width)
    offset   o, the output without any key, broadcastable to it
    joined   whether the heads are summed; otherwise they stand side by side
    """

    parts: Array
    offset: Any = 0.0
    joined: bool = False


@dataclass(frozen=True)
class Decided:
    """Tensors under which every query fetches one key's value.

    arrays   the tensors to put in place of others, by name
    best     the key of each query
    gap      by which its score is the largest, at the least
    """

    arrays: Mapping[str, Array]
    best: NDArray[np.int64]
    gap: float


class Patterns:
    """Sign patterns that spell the numbers of keys in binary, in the shapes of a case's tensors.

    A query that has the pattern of a key is nearest to it, by inner product and by distance.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], sizes: Sizes, queries: int, keys: int) -> None:
        self.shapes = shapes
        self.sizes = sizes
        self.queries = queries
        self.keys = keys
        self.bits = max(1, (keys - 1).bit_length())
        self.best = np.arange(queries) * 3 % max(keys, 1)

    def zeros(self, name: str) -> Array:
        """Return zeros in the shape of a tensor."""
        return np.zeros(self.shapes[name])

    def filled(self, name: str, pattern: Any, size: float = SIDE) -> Array:
        """Return a pattern, times a size, broadcast to the shape of a tensor."""
        return np.broadcast_to(size * np.asarray(pattern), self.shapes[name]).astype(np.float64)

    def code(self, name: str, numbers: NDArray[np.int64], size: float = SIDE) -> Array:
        """Return the patterns of some keys, one a row, repeated over a tensor's width."""
        bit = np.arange(self.shapes[name][-1]) % self.bits
        return self.filled(name, np.where(numbers[:, None] >> bit & 1, 1.0, -1.0), size)

    def repeated(self, name: str, width: int) -> Array:
        """Return a projection that repeats the first columns, which spell a number, over blocks of a width."""
        rows, columns = self.shapes[name][-2:]
        source = np.arange(rows) % width % self.bits
        return self.filled(name, source[:, None] == np.arange(columns), 1.0)

    def one_key(self, name: str) -> Array:
        """Return a tensor of keys in which the middle one is positive and the others are negative."""
        return self.filled(name, np.where(np.arange(self.keys) == self.keys // 2, 1.0, -1.0)[:, None])

    @property
    def middle(self) -> NDArray[np.int64]:
        """The middle key, for every query."""
        return np.full(self.queries, self.keys // 2)

    def matched(self, query: str, key: str, factor: float, width: int = 0, **arrays: Array) -> Decided | None:
        """Return codes of query and key whose inner product, times a factor, is the score; None if one is too narrow.

        width    of a further place that the patterns go through
        arrays   other tensors to replace
        """
        widths = (self.shapes[query][-1], self.shapes[key][-1], *([width] if width else []))
        if min(widths) < self.bits:
            return None
        codes = {query: self.code(query, self.best), key: self.code(key, np.arange(self.keys))}
        return Decided(codes | arrays, self.best, 2 * SIDE**2 * factor)


@dataclass(frozen=True)
class Algebra:
    """What one formula promises.

    checks    names of the checks that hold for this formula, and not for every one
    lacks     names of the relations that hold for every other formula, and not for this one
    breaks    a value of a choice -> the relations that do not hold under it
    shifted   the tensor by which a constant is added to all scores of a row; "" if there is none
    linear    the tensor in which the output is linear but for its offset; "" if there is none
    fetched   (tensors, sizes) -> what each key gives alone; None: the value
    decided   (patterns, options) -> tensors that decide between keys, or None; None: no scores can be made to
    """

    checks: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()
    breaks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    shifted: str = ""
    linear: str = "value"
    fetched: Callable[[Arrays, Sizes], Fetched] | None = None
    decided: Callable[[Patterns, Mapping[str, Any]], Decided | None] | None = None
