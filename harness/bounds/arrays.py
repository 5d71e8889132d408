"""What the arrays that carry bounds ask of each other: the softmax of its scores, a tape of the arrays under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.rounding import Array, Model
from attention_harness.model.dtypes import DType
from attention_harness.reference.arrays import Composite


class Bounded(Protocol):
    """An array with the bound and the variance of its error, as `Tracked` has them."""

    model: Model
    value: Array
    bound: Array | float
    variance: Array | float
    overflows: bool

    @property
    def shape(self) -> tuple[int, ...]: ...
    def like(self, value: Array, bound: Array | float, variance: Array | float) -> Any:
        """Return an array that comes from this one without a rounding."""

    def rounded(self, value: Array, bound: Array | float, variance: Array | float, fmt: DType) -> Any:
        """Return an array that comes from this one and is stored once in a format."""

    def reciprocal(self) -> Any:
        """Return 1 / c of a constant that `computed` made."""


class Differentiable(Composite, Protocol):
    """A composite array with the operations of which the way back is made."""

    def transpose(self, *axes: int) -> Any: ...
    def expand(self, shape: tuple[int, ...]) -> Any:
        """Return the array broadcast to a shape."""

    def scatter(self, index: Any, shape: tuple[int, ...]) -> Any:
        """Return zeros of a shape with this array at a basic index."""

    def without(self, hidden: NDArray[np.bool_]) -> Any:
        """Return the array with exact zeros where `hidden` says."""

    def total(self, terms: Sequence[Self]) -> Any:
        """Return the sum of arrays of one shape, in any order."""

    def as_output(self) -> Any:
        """Return what an implementation hands out: stored in the case's dtype."""

    def inverse_length(self) -> Any:
        """Return 1 / |x| along the last axis, which stays with length 1; 0 for a zero vector."""


@runtime_checkable
class Softmax(Protocol):
    """The weights that a differentiable array's `softmax` returns."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __matmul__(self, values: Any) -> Any: ...
    def __mul__(self, other: Any) -> Any: ...
    def swapaxes(self, first: int, second: int) -> Any: ...
    def as_output(self) -> Any: ...

    def incoming(self, adjoint: Any, values: Any, out: Any) -> Any:
        r"""Return the adjoint of the weights whose product with `values` is `out`: $\bar P = \bar O V^\top$."""

    def mean(self, x: Any) -> Any:
        r"""Return the mean of x under these weights, $\sum_j P_{ij} x_{ij}$: the last axis stays with length 1."""

    def scores_gradient(self, adjoint: Any) -> Any:
        r"""Return the adjoint of the scores, $\bar S_{ij} = P_{ij} (\bar P_{ij} - \sum_j P_{ij} \bar P_{ij})$."""
