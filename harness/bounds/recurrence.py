"""What a recurrence asks of arrays: one position after the other, in the format of sums, with exponentials.

`TrackedSteps` is that part of `operations.Tracked`, and `TapedSteps` of `tape.Taped`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_harness.bounds.rounding import Array, gamma
from attention_harness.reference.arrays import Plain, operations


class TrackedSteps:
    """Of an array that carries a bound and a variance."""

    def alike(self: Any, given: Any) -> Any:
        return type(self)(self.model, given) if isinstance(given, np.ndarray) else given

    def wide(self: Any) -> Any:
        """Return the array where every step is made, and stored, in the format of sums; no number changes."""
        acc = self.model.acc
        result = self.like(self.value, self.bound, self.variance)
        result.model = replace(self.model, io=acc, step=acc, probabilities=acc, recurrent=True)
        return result

    def narrow(self: Any, like: Any) -> Any:
        """Return the array rounded once to the format in which another array is stored."""
        result = self.rounded(self.value, in_any_order(self.bound, self.terms), self.variance, like.model.io)
        result.model, result.stored = like.model, True
        return result

    def positions(self: Any) -> list[Any]:
        return [self[..., at : at + 1, :] for at in range(self.shape[-2])]

    @staticmethod
    def joined(rows: Sequence[Any]) -> Any:
        every = [(row.value, in_any_order(row.bound, row.terms), row.variance) for row in rows]
        parts = [[np.broadcast_to(x, row.shape) for x in part] for row, part in zip(rows, every, strict=True)]
        result = rows[0].like(*(np.concatenate(part, -2) for part in zip(*parts, strict=True)))
        result.overflows = any(row.overflows for row in rows)
        return result

    def corrected(self: Any, key: Any, value: Any, rate: Any) -> Any:
        r"""Return $S + b k (v - S^\top k)^\top$, whose error E in S becomes $(I - b k k^\top) E$, and what is added.

        That matrix lengthens no column by more than $\max(1, |1 - b |k|^2|)$. Entry by entry,
        $|E| + b |k| |k|^\top |E|$ grows from step to step also where all steps together shrink it.
        """
        result = Plain.corrected(self, key, value, rate)
        size, bound = np.abs(key.value), np.broadcast_to(self.bound, self.shape)
        grown = np.maximum(np.abs(1 - rate.value * (size**2).sum(-1, keepdims=True)), 1.0)
        brought = bound + size.swapaxes(-1, -2) * (np.abs(rate.value) * (size @ bound))
        carry(result, grown * longest(self), brought)
        result.terms = terms_of(self).plus(self._written(key, value, rate))
        return result

    def _written(self: Any, key: Any, value: Any, rate: Any) -> Terms:
        r"""Return $b k (v - S^\top k)^\top$ as one exact term: the bound of the state follows what it errs."""
        fetched = key.value @ self.value
        off = np.abs(fetched if value is None else value.value - fetched)
        off = off + np.abs(key.value) @ np.broadcast_to(self.bound, self.shape)
        size = np.abs(key.value).swapaxes(-1, -2) * (np.abs(rate.value) * off)
        return Terms(type(self)(self.model, size), corrected=True)


@dataclass(frozen=True)
class Terms:
    r"""What a sum over positions consists of: implementations make it in any order, by any partial sums.

    $S_t = \sum_s P_{ts} k_s w_s^\top$, where $P_{ts}$ is a product of decays, is read as it is, or multiplied out for a
    chunk of positions, or for all: $q_t^\top S_t = \sum_s (q_t^\top k_s) P_{ts} w_s^\top$. The partial sums of that are
    no states, and need not cancel as states do. But in any order each of its terms $q_{td} k_{sd} P_{ts} w_{sj}$ is
    rounded at most once for each of its products, and once for each addition that it goes through. These are at most
    D - 1 along the features and t - 1 along the positions, so that the whole errs by at most
    $\gamma_{D + t} |q_t|^\top A_t$, and by what the decays err, where $A_t = |a_t| A_{t-1} + |k_t| |w_t|^\top$ adds up
    sizes (Higham 2002, section 3.1). Adjoints of states are such sums from the other end, and a gradient is a product
    of both. With a correction, w has errors that follow the states: then this comes on top of their bound. Of products
    that underflow, only those count that the formula itself makes, not those of a query and a key. And decays are
    multiplied: the exponential of a difference of cumulated logarithms errs by more after a strong decay.

    size       A, a tracked array whose bound is what the products in the terms err
    additions  along the positions, for one term at most
    corrected  whether the bound of the sizes lacks the errors of what is added
    """

    size: Any
    additions: int = 0
    corrected: bool = False

    def moved(self, move: Callable[[Array], Array]) -> Terms:
        parts = (self.size.value, self.size.bound, self.size.variance)
        return replace(self, size=self.size.like(*(x if isinstance(x, float) else move(x) for x in parts)))

    def plus(self, *others: Terms) -> Terms:
        """Return the terms of a sum. It rounds nothing: additions are counted."""
        every = (self, *others)
        parts = (sum(getattr(x.size, part) for x in every) for part in ("value", "bound", "variance"))
        additions = max(x.additions for x in every) + len(others)
        return Terms(self.size.like(*parts), additions, any(x.corrected for x in every))


def terms_of(x: Any) -> Terms:
    """Return the terms of a tracked array; one that is no sum over positions is one term."""
    return x.terms if x.terms is not None else Terms(type(x)(x.model, np.abs(x.value), x.bound, x.variance))


def sum_of(*arrays: Any) -> Terms | None:
    """Return the terms of the sum of tracked arrays, in a recurrence."""
    if not arrays[0].model.recurrent or not all(hasattr(x, "terms") for x in arrays):
        return None
    first, *others = map(terms_of, arrays)
    return first.plus(*others)


def product_of(one: Any, other: Any, by: Callable[[Any, Any], Any] = operator.mul) -> Terms | None:
    """Return the terms of the product of two arrays one of which is a sum over positions."""
    if all(getattr(x, "terms", None) is None for x in (one, other)) or not hasattr(other, "terms"):
        return None
    left, right = terms_of(one), terms_of(other)
    return Terms(by(left.size, right.size), left.additions + right.additions, left.corrected or right.corrected)


def in_any_order(bound: Any, terms: Terms | None) -> Any:
    """Return the bound of a sum of terms, from its bound where it is made one position after the other."""
    if terms is None:
        return bound
    size, errors = terms.size.value, terms.size.bound
    multiplied_out = errors + gamma(terms.additions, terms.size.model.acc.roundoff) * (size + errors)
    return bound + multiplied_out if terms.corrected else np.maximum(bound, multiplied_out)


def carry(x: Any, column: Array, brought: Array) -> None:
    """Note of an array that its error's columns are no longer than so, but for what the bound exceeds `brought` by."""
    x.column = column + _length(np.maximum(x.bound - brought, 0.0))
    x.bound = np.minimum(x.bound, x.column)


def longest(x: Any) -> Array:
    """Return a bound of the length of each column of an array's error, (..., 1, columns)."""
    return x.column if x.column is not None else _length(np.broadcast_to(x.bound, x.shape))


def _length(columns: Array) -> Array:
    return np.sqrt((columns**2).sum(-2, keepdims=True))


class TapedSteps:
    """Of an array that remembers the way back."""

    def alike(self: Any, given: Any) -> Any:
        return type(self)(self.value.alike(given)) if isinstance(given, np.ndarray) else given

    def wide(self: Any) -> Any:
        return type(self)(self.value.wide(), (self, lambda adjoint: adjoint.narrow(self.value)))

    def narrow(self: Any, like: Any) -> Any:
        return type(self)(self.value.narrow(getattr(like, "value", like)), (self, lambda adjoint: adjoint.wide()))

    def positions(self: Any) -> list[Any]:
        """Return the array at each position. Their adjoints are put side by side, where no sum rounds them."""
        whole = type(self)(self.value, (self, lambda placed: placed.array()))
        rows = self.value.positions()
        return [
            type(self)(row, (whole, lambda adjoint, at=at: _Placed({at: adjoint}, len(rows))))
            for at, row in enumerate(rows)
        ]

    @staticmethod
    def joined(rows: Sequence[Any]) -> Any:
        value = operations(rows[0].value).joined([row.value for row in rows])
        parents = [(row, lambda adjoint, at=at: adjoint[..., at : at + 1, :]) for at, row in enumerate(rows)]
        return type(rows[0])(value, *parents)

    def exp(self: Any) -> Any:
        value = np.exp(self.value)
        return type(self)(value, (self, lambda adjoint: adjoint * value))

    def corrected(self: Any, key: Any, value: Any, rate: Any) -> Any:
        r"""Return $S + b k (v - S^\top k)^\top$; the adjoint of S is corrected towards 0 by the same key and rate."""
        state, k, b = self.value, key.value, rate.value
        to_value = None if value is None else value.value

        def off() -> Any:
            return -(k @ state) if to_value is None else to_value - k @ state

        def to_key(adjoint: Any) -> Any:
            written, read = (b * off()) @ adjoint.swapaxes(-1, -2), (b * (k @ adjoint)) @ state.swapaxes(-1, -2)
            return written - read

        parents = [
            (self, lambda adjoint: adjoint.corrected(k, None, b)),
            (key, to_key),
            (rate, lambda adjoint: ((k @ adjoint) * off()).sum(-1)[..., None]),
        ]
        if value is not None:
            parents.append((value, lambda adjoint: b * (k @ adjoint)))
        return type(self)(state.corrected(k, to_value, b), *parents)


class _Placed:
    """Adjoints of some positions, of so many."""

    def __init__(self, rows: dict[int, Any], length: int) -> None:
        self.rows = rows
        self.length = length

    def total(self, terms: Sequence[_Placed]) -> _Placed:
        """Return those of all these, no two at one position."""
        return _Placed({at: row for term in terms for at, row in term.rows.items()}, self.length)

    def array(self) -> Any:
        """Return one array, exactly 0 at a position on which nothing depends."""
        some = next(iter(self.rows.values()))
        nothing = some.without(np.ones(some.shape, bool))
        return operations(some).joined([self.rows.get(at, nothing) for at in range(self.length)])
