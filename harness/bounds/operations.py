"""Arrays that carry the rounding error an implementation may have made so far, one operation after the other."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.elementary import Elementary
from attention_harness.bounds.products import Products
from attention_harness.bounds.recurrence import Terms, TrackedSteps, carry, in_any_order, longest, product_of, sum_of
from attention_harness.bounds.rounding import (
    MEAN_SQUARE_ROUNDING,
    Array,
    Model,
    compound,
    exceeds,
    gamma,
    rounding_variance,
    sum_variance,
)
from attention_harness.bounds.softmax import Weights
from attention_harness.bounds.ufuncs import Ufuncs
from attention_harness.model.dtypes import DType
from attention_harness.reference.arrays import Words


class Tracked(TrackedSteps, Elementary, Products, Ufuncs):
    """A float64 array with the bound and the variance of an implementation's error in it.

    bound, variance  arrays of the value's shape, or the number 0 for what is exact, as the inputs are
    stored           whether the last step rounded to the case's dtype
    independent      of a weighted sum with nothing after it: how many errors a row is worth, see `independence`
    of_rounded       of such a sum: whether its values have errors of their own
    by_output        of a gradient of weights: what its mean may err, made from the output
    empty            of a difference of weights: rows that see no key
    keyless          columns at the end that stand for no key: sinks beside scores
    overflows        whether a step so far leaves the range of the format in which it is stored
    factors          of a stored product: sizes of what was multiplied, as a third factor may have met either one first
    scaled           of a product with a constant: its size, for the constant may have been applied after the next sum
    folded           of a sum of products: what it errs where a scale was folded into a factor that became subnormal
    column           of a state: a bound of the length of each column of its error, which a correction does not increase
    terms            of a sum over positions: what it consists of, for it may be made in any order
    """

    def __init__(self, model: Model, value: Array, bound: Array | float = 0.0, variance: Array | float = 0.0) -> None:
        self.model = model
        self.value = value
        self.bound = bound
        self.variance = variance
        self.stored = self.of_rounded = False
        self.independent = self.by_output = None
        self.empty: NDArray[np.bool_] | None = None
        self.keyless = 0
        self.factors: tuple[Array, Array] | None = None
        self.scaled = 0.0
        self.folded: Array | float = 0.0
        self.column: Array | None = None
        self.terms: Terms | None = None
        self.overflows = exceeds(value, model.io)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    def like(self, value: Array, bound: Array | float, variance: Array | float) -> Tracked:
        """Return an array that comes from this one without a rounding."""
        result = Tracked(self.model, value, bound, variance)
        result.overflows = self.overflows
        return result

    def rounded(self, value: Array, bound: Array | float, variance: Array | float, fmt: DType, *by: Any) -> Tracked:
        r"""Return an array that comes from this one, and from others `by` it, and is stored once in a format.

        With $\hat x = x + e$, $|e| \le b$: $|\operatorname{fl}(\hat x) - \hat x| \le u (|x| + b) + \eta$, where $\eta$
        is half the spacing of the subnormal numbers.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.abs(value) + bound
            bound = bound + fmt.roundoff * size + (size > 0) * fmt.half_spacing  # an exact 0 stays one
            variance = variance + rounding_variance(value, fmt)
        result = self.like(value, bound, variance)
        result.overflows |= exceeds(value, fmt) or any(getattr(one, "overflows", False) for one in by)
        result.stored = fmt is self.model.io
        return result

    def as_output(self) -> Tracked:
        """Return what the implementation hands out: in the case's dtype, whatever it computed in."""
        return self if self.stored else self.rounded(self.value, self.bound, self.variance, self.model.io)

    # --- what moves numbers about without rounding them

    def _moved(self, move: Callable[[Array], Array]) -> Tracked:
        bound, variance = (x if isinstance(x, float) else move(x) for x in (self.bound, self.variance))
        result = self.like(move(self.value), bound, variance)
        result.scaled = self.scaled
        result.terms = None if self.terms is None else self.terms.moved(move)
        return result

    def __getitem__(self, index: Any) -> Tracked:
        return self._moved(lambda x: x[index])

    def swapaxes(self, first: int, second: int) -> Tracked:
        return self._moved(lambda x: x.swapaxes(first, second))

    def reshape(self, *shape: int) -> Tracked:
        return self._moved(lambda x: x.reshape(shape))

    def repeat(self, repeats: int, axis: int) -> Tracked:
        return self._moved(lambda x: x.repeat(repeats, axis))

    def beside(self, column: Any) -> Tracked:
        """Return the array with a further column, of numbers that are exact or tracked too."""
        parts = ((self.value, self.bound, self.variance), self._parts(column))
        one = (*self.shape[:-1], 1)
        pairs = ((np.broadcast_to(x, self.shape), np.broadcast_to(y, one)) for x, y in zip(*parts, strict=True))
        joined = (np.concatenate(pair, -1) for pair in pairs)
        result = self.like(*joined)
        result.overflows |= getattr(column, "overflows", False)
        result.keyless = self.keyless + 1
        return result

    def picked(self, rows: NDArray[np.int64]) -> Tracked:
        return self._moved(lambda x: np.moveaxis(x[rows], -1, -3))

    def transpose(self, *axes: int) -> Tracked:
        return self._moved(lambda x: x.transpose(*axes))

    def expand(self, shape: tuple[int, ...]) -> Tracked:
        return self._moved(lambda x: np.broadcast_to(x, shape))

    def scatter(self, index: Any, shape: tuple[int, ...]) -> Tracked:
        def placed(x: Array) -> Array:
            whole = np.zeros(shape)
            whole[index] = x
            return whole

        return self._moved(placed)

    def without(self, hidden: NDArray[np.bool_]) -> Tracked:
        return self._moved(lambda x: np.where(hidden, 0.0, x))

    def finite(self) -> Tracked:
        """Return an exact input with 0 for -inf, which is no overflow."""
        return Tracked(self.model, np.where(np.isneginf(self.value), 0.0, self.value), self.bound, self.variance)

    def __neg__(self) -> Tracked:
        return self.like(-self.value, self.bound, self.variance)

    # --- arithmetic, one rounding each

    def _parts(self, other: Any) -> tuple[Array, Array | float, Array | float]:
        """Return value, bound and variance of an operand; what was computed in finer steps is stored in ours first."""
        if not isinstance(other, Tracked | Weights):
            return np.asarray(other, np.float64), 0.0, 0.0
        step = self.model.step
        if isinstance(other, Tracked) and other.model.step.roundoff < step.roundoff and np.any(other.bound):
            other = self.rounded(other.value, other.bound, other.variance, step)
        return other.value, other.bound, other.variance

    def __add__(self, other: Any) -> Tracked:
        value, bound, variance = self._parts(other)
        result = self.rounded(self.value + value, self.bound + bound, self.variance + variance, self.model.step, other)
        result.terms = sum_of(self, other)
        return result

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tracked:
        value, bound, variance = self._parts(other)
        return self.rounded(self.value - value, self.bound + bound, self.variance + variance, self.model.step, other)

    def __mul__(self, other: Any) -> Tracked:
        r"""Return the product: $|\hat x \hat y - x y| \le |x| b_y + b_x |y| + b_x b_y$, then one rounding.

        A subnormal product of two factors errs by $\eta$ whatever its size, so that it matters which two came first.
        """
        value, bound, variance = self._parts(other)
        if other is self:
            bound_of_square = 2 * np.abs(value) * bound + np.square(bound)
            return self.rounded(value * value, bound_of_square, 4 * value**2 * variance, self.model.step)
        product_bound = np.abs(self.value) * bound + self.bound * np.abs(value) + self.bound * bound
        product_variance = self.value**2 * variance + self.variance * value**2
        if self.factors is not None:
            first = np.maximum(*self.factors)
            product_bound = product_bound + self.model.step.half_spacing * np.maximum(first - np.abs(value), 0.0)
        constant = float(np.max(np.abs(value) + bound)) if value.size == 1 else 0.0
        if constant and self.model.scaled_inputs:
            product_bound = product_bound + max(1.0, constant**0.5) * self.folded
        result = self.rounded(self.value * value, product_bound, product_variance, self.model.step, other)
        result.factors = np.abs(self.value) + self.bound, np.abs(value) + bound
        result.scaled = constant
        if self.column is not None:
            factor = np.abs(value)
            carry(result, factor.max(-2, keepdims=True) * self.column, factor * self.bound)
        result.terms = product_of(self, other)
        return result

    __rmul__ = __mul__

    def __truediv__(self, constant: Any) -> Tracked:
        """Return the quotient by a constant: a division, or a product with its rounded reciprocal."""
        return self * (constant if isinstance(constant, Tracked) else self.computed(constant, 0)).reciprocal()

    def reciprocal(self) -> Tracked:
        r"""Return $1/c$ of a computed constant: $\frac{c}{c + e} - 1 \le \frac{b}{|c| - b}$, and a rounding."""
        result = self.computed(1 / self.value, 0)
        size, off = np.abs(result.value), self.bound / (np.abs(self.value) - self.bound)
        result.bound, result.overflows = size * compound(off, result.bound / size), result.overflows or self.overflows
        result.variance = result.variance + self.variance * size**4
        return result

    def total(self, terms: Sequence[Tracked]) -> Tracked:
        """Return the sum of arrays that are stored in the case's dtype, added there in any order."""
        terms, io = [term.as_output() for term in terms], self.model.io
        value, size, brought, variance = (
            sum(x) for x in zip(*((t.value, np.abs(t.value), t.bound, t.variance) for t in terms), strict=True)
        )
        bound = brought + gamma(len(terms) - 1, io.roundoff) * (size + brought) + (len(terms) - 1) * io.half_spacing
        result = self.like(value, bound, variance + (len(terms) - 1) * rounding_variance(value, io))
        result.overflows |= any(term.overflows for term in terms) or exceeds(value, io)
        result.stored = True
        if any(term.column is not None for term in terms):
            carry(result, np.sum([longest(term) for term in terms], 0), brought)
        result.terms = sum_of(*terms)
        return result

    def sum(self, axis: int) -> Tracked:
        r"""Return the sum along the last axis: $\gamma_n \sum_j |x_j|$ in any order, and what the terms bring."""
        if axis != -1:
            raise ValueError(f"sums run along the last axis, got {axis}")
        n, acc = self.value.shape[-1], self.model.acc
        value = self.value.sum(-1)
        bound = np.sum(np.broadcast_to(self.bound, self.shape) * (1 + gamma(n, acc.roundoff)), -1)
        bound = bound + gamma(n, acc.roundoff) * np.abs(self.value).sum(-1)
        variance = np.sum(np.broadcast_to(self.variance, self.shape), -1)
        variance = variance + sum_variance(n, (self.value**2).sum(-1), value, acc)
        bound = in_any_order(bound, self.terms and replace(self.terms, size=self.terms.size.sum(-1)))
        return self.rounded(value, bound, variance, self.model.step)

    def __matmul__(self, other: Tracked) -> Tracked:
        r"""Return the matrix product: $\gamma_k |A||B|$ from the sums, and what the factors bring with them."""
        if other.ndim == 1:
            return (self @ other[:, None])[..., 0]
        model, k = self.model, self.shape[-1]
        a, b = np.abs(self.value), np.abs(other.value)
        value = self.value @ other.value
        squares = self.value**2 @ other.value**2
        relative = gamma(k, model.acc.roundoff)
        if model.scaled_inputs:  # a root of the scale on either side, rounded like its product
            relative = compound(relative, gamma(4, model.io.roundoff))
        bound = relative * (a @ b) + model.acc.smallest * k
        grown = 1 + relative
        variance = sum_variance(k, squares, value, model.acc)
        if model.scaled_inputs:
            variance = variance + 2 * MEAN_SQUARE_ROUNDING * model.io.roundoff**2 * squares
        if not isinstance(self.bound, float):
            bound = bound + grown * (self.bound @ b)
            variance = variance + self.variance @ other.value**2
        if not isinstance(other.bound, float):
            bound = bound + grown * (a @ other.bound)
            variance = variance + self.value**2 @ other.variance
            if not isinstance(self.bound, float):
                bound = bound + grown * (self.bound @ other.bound)
        partial = max(model.partial, other.model.partial)
        if partial:  # sums over so many terms each are added up in the case's dtype
            additions = max(-(-k // partial) - 1, 0)
            bound = bound + gamma(additions, model.io.roundoff) * (a @ b + bound) + additions * model.io.half_spacing
            variance = variance + additions * rounding_variance(value, model.io)
        if scaled := max(self.scaled, other.scaled):
            scaled = max(scaled, scaled**0.5 if model.scaled_inputs else 0.0)
            bound = bound + scaled * (model.step.half_spacing + model.acc.smallest * k)
        bound = in_any_order(bound, product_of(self, other, operator.matmul))
        nothing = ~(a + self.bound).any(-1, keepdims=True)  # rows of exact zeros: so is what they add up to
        result = self.rounded(value, np.where(nothing, 0.0, bound), variance, model.step, other)
        if model.scaled_inputs:
            result.folded = ~nothing * model.io.half_spacing * (a.sum(-1, keepdims=True) + b.sum(-2, keepdims=True))
        if k == 1:
            result.factors = a + self.bound, b + other.bound
        if model.partial:
            result.model = replace(model, partial=0)
        return result

    def in_parts(self, left: Tracked, right: Tracked, layer: bool) -> Tracked:
        """Return this sum of left^T right over the batch, of which each batch element's part may be stored first.

        layer: whether sum and parts are stored in the case's dtype, and not as the steps of the scores are
        """
        fmt = self.model.io if layer else self.model.step
        whole, count = (self.as_output() if layer else self), math.prod(left.shape[:-2])
        if count == 1 or fmt.roundoff <= self.model.acc.roundoff:  # otherwise the sum's own bound has room for them
            return whole
        parts = np.abs(left.value.swapaxes(-1, -2) @ right.value).reshape(count, *self.shape).sum(0)
        bound = whole.bound + fmt.roundoff * (parts + whole.bound) + count * fmt.half_spacing
        result = self.like(self.value, bound, self.variance)
        result.stored = whole.stored
        return result

    # --- the operations that are more than one operator

    def computed(self, constant: Array | np.float64, roundings: Array | float) -> Tracked:
        """Return a constant that the implementation computes itself, in its accumulator, and what is made of it there.

        What the dtype holds exactly, such as 1/sqrt(64), has no error: it is the quotient of exact numbers. The
        reference holds every number in float64, exact or not: there half the bits count, which none fits by chance.
        """
        value = np.asarray(constant, np.float64)
        fine = replace(self.model, step=self.model.acc)
        io = self.model.io
        mantissa = np.ldexp(np.frexp(value)[0], io.precision // 2 if io.as_reference else io.precision)
        relative = np.where(mantissa == np.rint(mantissa), 0.0, gamma(roundings + 1, self.model.acc.roundoff))
        return Tracked(fine, value, relative * np.abs(value), (relative * value) ** 2 / 12)

    @staticmethod
    def linear(parts: tuple[Tracked, ...], weight: Tracked, bias: Tracked | None) -> Tracked:
        r"""Return a layer's output, stored in the case's dtype: $\gamma_{n+1} (|x| |W| + |b|)$, and the input's errors.

        The parts of a concatenated input may have been multiplied and stored one by one.
        """
        model, io = parts[0].model, parts[0].model.io
        n = sum(part.shape[-1] for part in parts) + 1
        (value, size, carried, squares, variance), at = (np.zeros(()) for _ in range(5)), 0
        for part in parts:
            columns = weight.value[:, at : at + part.shape[-1]].T
            at += part.shape[-1]
            product = part.value @ columns
            value, size = value + product, size + np.abs(part.value) @ np.abs(columns)
            squares = squares + part.value**2 @ columns**2
            if not isinstance(part.bound, float):
                carried = carried + (1 + gamma(n, model.acc.roundoff)) * (part.bound @ np.abs(columns))
                variance = variance + part.variance @ columns**2
            if len(parts) > 1:
                carried = carried + io.roundoff * np.abs(product) + io.half_spacing
                variance = variance + MEAN_SQUARE_ROUNDING * (io.roundoff * product) ** 2
        if bias is not None:
            value, size, squares = value + bias.value, size + np.abs(bias.value), squares + bias.value**2
            if len(parts) > 1:  # the bias may have joined any of the stored parts
                carried = carried + io.roundoff * np.abs(bias.value)
                variance = variance + MEAN_SQUARE_ROUNDING * (io.roundoff * bias.value) ** 2
        bound = gamma(n, model.acc.roundoff) * size + np.where(size > 0, n * model.acc.smallest, 0.0) + carried
        variance = variance + sum_variance(n, squares, value, model.acc)
        return parts[0].rounded(value, bound, variance, io, *parts[1:], weight, bias)

    def normalise(self) -> Tracked:
        r"""Return unit vectors: the squares' sum, its root and the quotient are relative errors of each entry.

        For a moved vector, $\frac{x + e}{|x + e|} - \frac{x}{|x|} = \frac{e - x/|x| (|x + e| - |x|)}{|x + e|}$.
        """
        model = self.model
        value, length, largest = self._unit()
        relative = compound(self._error_of_length(), model.step.roundoff)
        bound, variance = relative * np.abs(value), (relative * value) ** 2 / 12
        if not isinstance(self.bound, float):
            norm = length * largest
            moved = np.sqrt((self.bound**2).sum(-1, keepdims=True))
            least = norm - moved  # the length of the moved vector, at least
            shift = np.divide(self.bound + np.abs(value) * moved, least, out=np.full_like(value, 2.0), where=least > 0)
            bound = bound + (1 + relative) * np.where(moved > 0, np.minimum(shift, 2.0), 0.0)
            variance = variance + np.divide(self.variance, norm**2, out=np.ones_like(value), where=norm > 0)
        return self.rounded(value, bound, variance, model.step)

    def inverse_length(self) -> Tracked:
        r"""Return $1 / |x|$ along the last axis, which stays with length 1: $||x + e| - |x|| \le |e|$."""
        model = self.model
        _, length, largest = self._unit()
        length, relative = length * largest, self._error_of_length()
        value = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        bound, variance = relative * value, (relative * value) ** 2 / 12
        if not isinstance(self.bound, float):
            moved = np.sqrt((self.bound**2).sum(-1, keepdims=True))
            least = length - moved
            shift = np.divide(moved * value, least, out=np.full_like(value, np.inf), where=least > 0)
            bound = bound + (1 + relative) * shift
            variance = variance + np.broadcast_to(self.variance, self.shape).sum(-1, keepdims=True) * value**4
        return self.rounded(value, bound, variance, model.step)

    def _error_of_length(self) -> float:
        r"""Return the relative error of a length's reciprocal: the root of a sum of squares, and three roundings."""
        unit = self.model.acc.roundoff
        sums = gamma(self.shape[-1], unit)
        return compound(gamma(3, unit), np.expm1(-np.log1p(-sums) / 2)) if sums < 1 else np.inf

    def _unit(self) -> tuple[Array, Array, Array]:
        """Return unit vectors, and the vectors' lengths as a product: in units of the largest entry, and that entry."""
        largest = np.max(np.abs(self.value), -1, keepdims=True, initial=0.0)
        scaled = np.divide(self.value, largest, out=np.zeros_like(self.value), where=largest > 0)
        length = np.sqrt((scaled**2).sum(-1, keepdims=True))
        return np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0), length, largest

    def softmax(self, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Weights:
        return Weights(self, visible, fully_masked_rows)
