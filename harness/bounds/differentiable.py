"""What a tape asks of the arrays under it: the operations of the way back, beside those of a formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attention_harness.reference.arrays import Composite


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

    def in_parts(self, left: Self, right: Self, layer: bool) -> Any:
        """Return this sum of left^T right over the batch, as it is where each batch element's part is stored first.

        layer: whether sum and parts are stored in the case's dtype, and not as the formula's steps are
        """

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

    def of_keys(self, keys: int) -> Any:
        """Return the weights of the first keys, as they are handed out."""

    def for_difference(self, factor: Any = None) -> Any:
        """Return the weights as they are where others times a factor may be subtracted from them first."""

    def difference(self, factor: Any, other: Any) -> Any:
        """Return these weights minus a factor times others, as they are handed out."""

    def difference_sum(self, factor: Any, other: Any, values: Any) -> Any:
        """Return the product of that difference with the values."""

    def incoming(self, adjoint: Any, values: Any, out: Any) -> Any:
        r"""Return the adjoint of the weights whose product with `values` is `out`: $\bar P = \bar O V^\top$.

        Values may come as two matrices whose product they are.
        """

    def mean(self, x: Any) -> Any:
        r"""Return the mean of x under these weights, $\sum_j P_{ij} x_{ij}$: the last axis stays with length 1."""

    def scores_gradient(self, adjoint: Any) -> Any:
        r"""Return the adjoint of the scores, $\bar S_{ij} = P_{ij} (\bar P_{ij} - \sum_j P_{ij} \bar P_{ij})$."""
