"""What a recurrence asks of arrays: one position after the other, in the format of sums, with exponentials.

`TrackedSteps` is that part of `operations.Tracked`, and `TapedSteps` of `tape.Taped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attention_harness.bounds.rounding import Array
from attention_harness.reference.arrays import Plain, operations


class TrackedSteps:
    """Of an array that carries a bound and a variance."""

    def alike(self: Any, given: Any) -> Any:
        return type(self)(self.model, given) if isinstance(given, np.ndarray) else given

    def wide(self: Any) -> Any:
        """Return the array where every step is made, and stored, in the format of sums; no number changes."""
        acc = self.model.acc
        result = self.like(self.value, self.bound, self.variance)
        result.model = replace(self.model, io=acc, step=acc, probabilities=acc)
        return result

    def narrow(self: Any, like: Any) -> Any:
        """Return the array rounded once to the format in which another array is stored."""
        result = self.rounded(self.value, self.bound, self.variance, like.model.io)
        result.model, result.stored = like.model, True
        return result

    def positions(self: Any) -> list[Any]:
        return [self[..., at : at + 1, :] for at in range(self.shape[-2])]

    @staticmethod
    def joined(rows: Sequence[Any]) -> Any:
        parts = [[np.broadcast_to(x, row.shape) for x in (row.value, row.bound, row.variance)] for row in rows]
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
        return result


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
