r"""What the formulas ask of an array, and NumPy's answer.

A formula is written once and runs on several kinds of array: on NumPy's float64, on arrays that carry a bound of the
rounding error, on arrays that remember the way back of a derivative. `Array` lists the operators that a formula may
use. `Composite` adds the operations that are more than one operator: an array brings its own where the error of the
whole is much smaller than that of its steps. `Plain` is their definition, on NumPy arrays.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Words = str | NDArray[np.str_]
"""What a row that sees no key gets: "zero", "nan" or "mean"; for all rows, or (..., Lq, 1) for each."""


class Array(Protocol):
    """The operators that a formula may use, with NumPy's meaning; and `np.tanh`, `np.sin`, `np.cos` and `np.exp`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, index: Any) -> Self: ...
    def __add__(self, other: Any) -> Self: ...
    def __radd__(self, other: Any) -> Self: ...
    def __sub__(self, other: Any) -> Self: ...
    def __neg__(self) -> Self: ...
    def __mul__(self, other: Any) -> Self: ...
    def __rmul__(self, other: Any) -> Self: ...
    def __truediv__(self, other: Any) -> Self: ...
    def __matmul__(self, other: Any) -> Any: ...
    def sum(self, axis: int) -> Self: ...
    def swapaxes(self, first: int, second: int) -> Self: ...
    def reshape(self, *shape: int) -> Self: ...
    def repeat(self, repeats: int, axis: int) -> Self: ...
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any: ...


class Composite(Array, Protocol):
    """An array with its own form of the operations that are more than one operator; `Plain` says what they mean."""

    def softmax(self, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Any: ...
    def beside(self, column: Any) -> Any: ...
    def picked(self, rows: NDArray[np.int64]) -> Any: ...
    @staticmethod
    def linear(parts: tuple[Any, ...], weight: Any, bias: Any) -> Any: ...
    @staticmethod
    def products(terms: tuple[tuple[Any, ...], ...]) -> Any: ...
    def normalise(self) -> Any: ...
    def normalise_rms(self, weight: Any, epsilon: float) -> Any: ...
    def finite(self) -> Any: ...
    def computed(self, constant: Any, roundings: float) -> Any: ...
    def as_output(self) -> Any: ...
    def alike(self, given: Any) -> Any: ...
    def wide(self) -> Any: ...
    def narrow(self, like: Any) -> Any: ...
    def positions(self) -> Any: ...
    def corrected(self, key: Any, value: Any, rate: Any) -> Any: ...
    @staticmethod
    def joined(rows: Any) -> Any: ...


class Plain:
    """The operations on NumPy arrays, of any floating dtype. `self` is the array."""

    def softmax(self: Any, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Any:
        r"""Return $\exp S_{ij} / \sum_{j'} \exp S_{ij'}$ over the visible keys; by policy where there is none."""
        peak = np.max(self, -1, keepdims=True, initial=-np.inf, where=visible)
        weights = np.exp(np.where(visible, self - np.where(np.isfinite(peak), peak, 0.0), -np.inf))
        total = weights.sum(-1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        return np.where(total > 0, weights, empty_weight(self.shape[-1], fully_masked_rows))

    def beside(self: Any, column: Any) -> Any:
        """Return the array with a further column at the end of its last axis, the same one where it is broadcast."""
        return np.concatenate([self, np.broadcast_to(column, (*self.shape[:-1], 1))], -1)

    def picked(self: Any, rows: NDArray[np.int64]) -> Any:
        """Return, of a table (N, H), the row that each place names: (..., Lq, Lk) -> (..., H, Lq, Lk)."""
        return np.moveaxis(self[rows], -1, -3)

    @staticmethod
    def linear(parts: tuple[Any, ...], weight: Any, bias: Any) -> Any:
        r"""Return $[x_1; x_2; \dots] W^\top + b$."""
        ends = np.cumsum([part.shape[-1] for part in parts])
        columns = np.split(weight, ends[:-1], axis=1)
        total = sum(part @ of_part.T for part, of_part in zip(parts, columns, strict=True))
        return total if bias is None else total + bias

    @staticmethod
    def products(terms: tuple[tuple[Any, ...], ...]) -> Any:
        r"""Return $\sum_n A_n B_n$, of terms of two matrices or of three, $A_n B_n C_n$."""
        return sum(term[0] @ (term[1] if len(term) == 2 else term[1] @ term[2]) for term in terms)

    def normalise(self: Any) -> Any:
        r"""Return $x / \lVert x \rVert$ along the last axis; a zero vector stays zero."""
        largest = np.max(np.abs(self), -1, keepdims=True, initial=0.0)
        x = np.divide(self, largest, out=np.zeros_like(self), where=largest > 0)  # no square under- or overflows
        norm = np.sqrt((x * x).sum(-1, keepdims=True))
        return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)

    def normalise_rms(self: Any, weight: Any, epsilon: float) -> Any:
        r"""Return $w x / \sqrt{\operatorname{mean}(x^2) + \epsilon}$ along the last axis."""
        return weight * (self / np.sqrt((self * self).sum(-1, keepdims=True) / max(self.shape[-1], 1) + epsilon))

    def finite(self: Any) -> Any:
        """Return the array with 0 in place of -inf."""
        return np.where(np.isneginf(self), 0.0, self)

    def computed(self: Any, constant: Any, roundings: float) -> Any:
        """Return a constant that every implementation computes for itself, right to so many roundings."""
        return constant

    def as_output(self: Any) -> Any:
        """Return the array as it is where an implementation stores it in the case's dtype."""
        return self

    def difference(self: Any, factor: Any, other: Any) -> Any:
        """Return weights minus a factor times other weights."""
        return self - factor * other

    def difference_sum(self: Any, factor: Any, other: Any, values: Any) -> Any:
        """Return the sum of the values by weights from which a factor times others was subtracted."""
        return (self - factor * other) @ values

    def alike(self: Any, given: Any) -> Any:
        """Return an exact input as an array of this one's kind."""
        return given

    def wide(self: Any) -> Any:
        """Return the array as it is where the steps that follow are made in the format of sums."""
        return self

    def narrow(self: Any, like: Any) -> Any:
        """Return the array as it is once it is stored in the format of another one."""
        return self

    def positions(self: Any) -> Any:
        """Return the array at each place of the axis before the last, which stays with length 1."""
        return [self[..., at : at + 1, :] for at in range(self.shape[-2])]

    def corrected(self: Any, key: Any, value: Any, rate: Any) -> Any:
        r"""Return a state (..., D, Dv) corrected by the delta rule, $S + b k (v - S^\top k)^\top$; v is 0 if None.

        key (..., 1, D), value (..., 1, Dv), rate (..., 1, 1)
        """
        off = -(key @ self) if value is None else value - key @ self
        return self + key.swapaxes(-1, -2) * (rate * off)

    @staticmethod
    def joined(rows: Any) -> Any:
        """Return the array that has these, one or more, behind each other along the axis before the last."""
        return np.concatenate(rows, -2)


def operations(x: Any) -> Any:
    """Return the class whose operations an array has: its own, or `Plain` for one of NumPy's."""
    return Plain if isinstance(x, np.ndarray | np.generic) and not isinstance(x, Plain) else type(x)


def empty_weight(keys: int, fully_masked_rows: Words) -> NDArray[np.float64]:
    """Return the weight of every key in a row that sees none; for a word of each row, in the shape of these."""
    policies = {"zero": 0.0, "nan": np.nan, "mean": 1.0 / max(keys, 1)}
    words = np.asarray(fully_masked_rows)
    for word in np.unique(words):
        if word not in policies:
            raise ValueError(f"unknown policy {str(word)!r} for fully masked rows; known: {', '.join(policies)}")
    return np.select([words == word for word in policies], list(policies.values()))
