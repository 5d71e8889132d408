r"""How far a correct implementation may be from the exact result, computed element by element.

The reference formula itself is run on `Tracked` arrays: each carries, beside its float64 value, a bound of the rounding
error that an implementation of the declared `Arithmetic` may have made so far, and the variance of that error. So every
mechanism gets its budget from its own formula. Where a step-by-step bound would be far too loose - the softmax, whose
common factor cancels, and its sum with the values - the closed form replaces the steps:

$$\delta o = \frac{\sum_j p_j (e^{\delta_j} - 1)(v_j - o)}{\sum_j p_j e^{\delta_j}}$$

which is exact, since $\sum_j p_j (v_j - o) = 0$: a constant value has no error from the scores at all.

Notation: $u = 2^{-p}$ the unit roundoff, $\gamma_n = n u / (1 - n u)$ the bound of n roundings (Higham 2002, section
3.1). Bounds are rigorous as far as the declaration lists every rounding; variances are first order and take rounding
errors as independent (Higham and Mary 2019), so they serve the statistical tests of `harness.judge` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.values import Arithmetic
from reference.core import empty_weight

Array = NDArray[np.float64]

_LARGEST_SHIFT = 40.0  # e^40 u exceeds 1 in every format: beyond this a log-weight's error says nothing anyway
_MEAN_SQUARE_ROUNDING = 0.18  # E[eps^2] / u^2, round to nearest even, mantissa log-uniform (NUMERICS, section 1)


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: unit roundoff, smallest normal, half the subnormal spacing, largest number."""

    roundoff: float
    smallest: float
    half_spacing: float
    largest: float


def _ieee(precision: int, least_exponent: int, largest: float) -> Format:
    half_spacing = max(2.0 ** (least_exponent - precision), 5e-324)  # float64 has no number for its own
    return Format(2.0**-precision, 2.0**least_exponent, half_spacing, largest)


FORMATS = {
    "float64": _ieee(53, -1022, float(np.finfo(np.float64).max)),
    "float32": _ieee(24, -126, float(np.finfo(np.float32).max)),
    "float16": _ieee(11, -14, float(np.finfo(np.float16).max)),
    "bfloat16": _ieee(8, -126, (2 - 2.0**-7) * 2.0**127),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A declared arithmetic on a dtype: `io` stores inputs and output, `acc` sums, `step` holds the scores' steps."""

    io: Format
    acc: Format
    step: Format
    probabilities: Format
    split_keys: bool
    scaled_inputs: bool
    block: int
    exp_ulp: float

    @classmethod
    def of(cls, arithmetic: Arithmetic, dtype: str) -> Model:
        """Return the model that an implementation's declaration means for a dtype."""
        io = FORMATS[dtype]
        acc = FORMATS[arithmetic.accumulator or ("float64" if dtype == "float64" else "float32")]
        return cls(
            io=io,
            acc=acc,
            step=io if arithmetic.rounded_scores else acc,
            probabilities=io if arithmetic.stored_probabilities else acc,
            split_keys=arithmetic.split_keys,
            scaled_inputs=arithmetic.scaled_inputs,
            block=arithmetic.block,
            exp_ulp=arithmetic.exp_ulp,
        )


def gamma(roundings: float, roundoff: float) -> float:
    """Return the bound of that many roundings, infinite where there is none."""
    x = roundings * roundoff
    return x / (1 - x) if x < 1 else np.inf


class Tracked:
    """A float64 array with the bound and the variance of an implementation's error in it.

    bound and variance are arrays of the value's shape, or the number 0 for what is exact (the inputs).
    """

    def __init__(self, model: Model, value: Array, bound: Array | float = 0.0, variance: Array | float = 0.0) -> None:
        self.model = model
        self.value = value
        self.bound = bound
        self.variance = variance
        self.stored = False  # whether the last step rounded to the case's dtype
        self.direct = False  # whether this is a weighted sum of values, with nothing after it
        with np.errstate(invalid="ignore"):
            self.overflows = bool(np.any(np.abs(value) > model.io.largest))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    def _like(self, value: Array, bound: Array | float, variance: Array | float) -> Tracked:
        result = Tracked(self.model, value, bound, variance)
        result.overflows |= self.overflows
        return result

    def _rounded(self, value: Array, bound: Array | float, variance: Array | float, fmt: Format) -> Tracked:
        """Return a result that is stored once in a format: half a unit in the last place is added."""
        with np.errstate(invalid="ignore", over="ignore"):
            bound = bound + fmt.roundoff * (np.abs(value) + bound) + fmt.half_spacing
            variance = variance + _rounding_variance(value, fmt)
        result = self._like(value, bound, variance)
        result.stored = fmt is self.model.io
        return result

    def as_output(self) -> Tracked:
        """Return what the implementation hands out: in the case's dtype, whatever it computed in."""
        if self.stored:
            return self
        return self._rounded(self.value, self.bound, self.variance, self.model.io)

    # --- what moves numbers about without rounding them

    def _moved(self, move: Any) -> Tracked:
        bound, variance = (x if isinstance(x, float) else move(x) for x in (self.bound, self.variance))
        return self._like(move(self.value), bound, variance)

    def __getitem__(self, index: Any) -> Tracked:
        return self._moved(lambda x: x[index])

    def swapaxes(self, first: int, second: int) -> Tracked:
        return self._moved(lambda x: x.swapaxes(first, second))

    def reshape(self, *shape: int) -> Tracked:
        return self._moved(lambda x: x.reshape(*shape))

    def repeat(self, repeats: int, axis: int) -> Tracked:
        return self._moved(lambda x: x.repeat(repeats, axis))

    # --- arithmetic, one rounding each

    def _parts(self, other: Any) -> tuple[Array, Array | float, Array | float]:
        """Return value, bound and variance of an operand; what was computed in finer steps is stored in ours first."""
        if not isinstance(other, Tracked):
            return np.asarray(other, np.float64), 0.0, 0.0
        if other.model.step.roundoff < self.model.step.roundoff and np.any(other.bound):
            other = self._rounded(other.value, other.bound, other.variance, self.model.step)
        return other.value, other.bound, other.variance

    def __add__(self, other: Any) -> Tracked:
        value, bound, variance = self._parts(other)
        return self._rounded(self.value + value, self.bound + bound, self.variance + variance, self.model.step)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tracked:
        value, bound, variance = self._parts(other)
        return self._rounded(self.value - value, self.bound + bound, self.variance + variance, self.model.step)

    def __mul__(self, other: Any) -> Tracked:
        value, bound, variance = self._parts(other)
        if other is self:
            bound_of_square = 2 * np.abs(value) * bound + np.square(bound)
            return self._rounded(value * value, bound_of_square, 4 * value**2 * variance, self.model.step)
        product_bound = np.abs(self.value) * bound + self.bound * np.abs(value) + self.bound * bound
        product_variance = self.value**2 * variance + self.variance * value**2
        return self._rounded(self.value * value, product_bound, product_variance, self.model.step)

    __rmul__ = __mul__

    def sum(self, axis: int) -> Tracked:
        if axis != -1:
            raise ValueError(f"sums run along the last axis, got {axis}")
        n, acc = self.value.shape[-1], self.model.acc
        value = self.value.sum(-1)
        bound = np.sum(_full(self.bound, self.shape) * (1 + gamma(n, acc.roundoff)), -1)
        bound = bound + gamma(n, acc.roundoff) * np.abs(self.value).sum(-1)
        variance = np.sum(_full(self.variance, self.shape), -1) + _sum_variance(n, (self.value**2).sum(-1), value, acc)
        return self._rounded(value, bound, variance, self.model.step)

    def __matmul__(self, other: Any) -> Tracked:
        if isinstance(other, Tracked) and other.ndim == 1:
            return (self @ other[:, None])[..., 0]
        return self._product(other, self.model.step)

    def _product(self, other: Tracked, stored: Format) -> Tracked:
        """Matrix product: gamma_k |A||B| from the sums, and what the factors bring with them."""
        model, k = self.model, self.shape[-1]
        a, b = np.abs(self.value), np.abs(other.value)
        value = self.value @ other.value
        extra = 4 * model.io.roundoff if model.scaled_inputs else 0.0
        bound = (gamma(k, model.acc.roundoff) + extra) * (a @ b) + model.acc.smallest * k
        squares = self.value**2 @ other.value**2
        variance = _sum_variance(k, squares, value, model.acc)
        if model.scaled_inputs:
            variance = variance + 2 * _MEAN_SQUARE_ROUNDING * model.io.roundoff**2 * squares
        grown = 1 + gamma(k, model.acc.roundoff)
        if not isinstance(self.bound, float):
            bound = bound + grown * (self.bound @ b)
            variance = variance + self.variance @ other.value**2
        if not isinstance(other.bound, float):
            bound = bound + grown * (a @ other.bound)
            variance = variance + self.value**2 @ other.variance
            if not isinstance(self.bound, float):
                bound = bound + grown * (self.bound @ other.bound)
        return self._rounded(value, bound, variance, stored)

    # --- elementary functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Answer NumPy's functions: np.tanh(tracked), and operators with an array on the left."""
        unary = {np.tanh: self.tanh, np.sin: self.sin, np.cos: self.cos}
        commutative = {np.add: self.__add__, np.multiply: self.__mul__}
        if method == "__call__" and not options and len(inputs) == 1 and ufunc in unary:
            return unary[ufunc]()
        if method == "__call__" and not options and len(inputs) == 2 and ufunc in commutative and inputs[1] is self:
            return commutative[ufunc](inputs[0])
        return NotImplemented

    def tanh(self) -> Tracked:
        """|tanh(z + d) - tanh z| <= min(|d| sech^2 of the nearest point to 0, 2)."""
        value = np.tanh(self.value)
        nearest = np.maximum(np.abs(self.value) - self.bound, 0.0)
        bound = np.minimum(self.bound / np.cosh(np.minimum(nearest, 300.0)) ** 2, 2.0)
        variance = self.variance * (1 - value**2) ** 2
        return self._elementary(value, bound, variance)

    def sin(self) -> Tracked:
        return self._elementary(np.sin(self.value), np.minimum(self.bound, 2.0), self.variance)

    def cos(self) -> Tracked:
        return self._elementary(np.cos(self.value), np.minimum(self.bound, 2.0), self.variance)

    def _elementary(self, value: Array, bound: Any, variance: Any) -> Tracked:
        ulps = 2 * self.model.exp_ulp * self.model.acc.roundoff
        return self._rounded(
            value, bound + ulps * (np.abs(value) + bound), variance + (ulps * value) ** 2 / 12, self.model.step
        )

    # --- the shared operations of `reference.core`

    def computed(self, constant: Array | np.float64, roundings: float) -> Tracked:
        """Return a constant that the implementation computes itself, in its accumulator, and what is made of it there.

        What the case's dtype holds exactly, such as 1/sqrt(64), has no error: it is the quotient of exact numbers.
        """
        value = np.asarray(constant, np.float64)
        fine = replace(self.model, step=self.model.acc)
        mantissa = np.frexp(value)[0] / self.model.io.roundoff
        relative = np.where(mantissa == np.rint(mantissa), 0.0, (roundings + 1) * self.model.acc.roundoff)
        return Tracked(fine, value, relative * np.abs(value), (relative * value) ** 2 / 12)

    def linear(self, parts: tuple[Tracked, ...], weight: Tracked, bias: Tracked | None) -> Tracked:
        """Return a layer's output, stored in the case's dtype: gamma_{n+1} (|x| |W| + |b|), and the input's errors.

        The parts of a concatenated input may have been multiplied and stored one by one.
        """
        model, io = self.model, self.model.io
        n = sum(part.shape[-1] for part in parts) + 1
        value, size, carried = (np.zeros(()) for _ in range(3))
        squares, variance, at = np.zeros(()), np.zeros(()), 0
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
                variance = variance + _MEAN_SQUARE_ROUNDING * (io.roundoff * product) ** 2
        if bias is not None:
            value, size, squares = value + bias.value, size + np.abs(bias.value), squares + bias.value**2
            if len(parts) > 1:  # the bias may have joined any of the stored parts
                carried = carried + io.roundoff * np.abs(bias.value)
                variance = variance + _MEAN_SQUARE_ROUNDING * (io.roundoff * bias.value) ** 2
        bound = gamma(n, model.acc.roundoff) * size + n * model.acc.smallest + carried
        variance = variance + _sum_variance(n, squares, value, model.acc)
        return self._rounded(value, bound, variance, io)

    def normalise(self) -> Tracked:
        """Return unit vectors: the squares' sum, its root and the quotient are relative errors of each entry."""
        model, width = self.model, self.shape[-1]
        largest = np.max(np.abs(self.value), -1, keepdims=True, initial=0.0)
        scaled = np.divide(self.value, largest, out=np.zeros_like(self.value), where=largest > 0)
        length = np.sqrt((scaled**2).sum(-1, keepdims=True))
        value = np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0)
        relative = gamma(width, model.acc.roundoff) / 2 + 3 * model.acc.roundoff + model.step.roundoff
        bound, variance = relative * np.abs(value), (relative * value) ** 2 / 12
        if not isinstance(self.bound, float):  # (x+e)/|x+e| - x/|x| = (e - x/|x| (|x+e|-|x|)) / |x+e|
            norm = length * largest
            moved = np.sqrt((self.bound**2).sum(-1, keepdims=True))
            least = norm - moved  # the length of the moved vector, at least
            shift = np.divide(self.bound + np.abs(value) * moved, least, out=np.full_like(value, 2.0), where=least > 0)
            bound = bound + np.minimum(shift, 2.0)
            spread = np.divide(self.variance, norm**2, out=np.ones_like(value), where=norm > 0)
            variance = variance + spread
        return self._rounded(value, bound, variance, model.step)

    def softmax(self, visible: NDArray[np.bool_], empty_rows: str) -> Weights:
        return Weights(self, visible, empty_rows)


class Weights(Tracked):
    """The softmax of tracked scores. Its product with the values uses the exact form of the whole."""

    def __init__(self, scores: Tracked, visible: NDArray[np.bool_], empty_rows: str) -> None:
        model, keys = scores.model, scores.shape[-1]
        unit = model.acc.roundoff
        peak = np.max(scores.value, -1, keepdims=True, initial=-np.inf, where=visible)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        gap = np.where(visible, scores.value - peak, 0.0)
        exponentials = np.where(visible, np.exp(gap), 0.0)
        total = exponentials.sum(-1, keepdims=True)
        self.empty = np.asarray(~visible.any(-1))
        weights = np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)
        size = np.abs(gap) + np.where(visible, np.abs(scores.value), 0.0)
        shift = np.where(visible, scores.bound, 0.0) + 2 * unit * size + 4 * model.exp_ulp * unit
        shift_variance = np.where(visible, scores.variance, 0.0) + _MEAN_SQUARE_ROUNDING * unit**2 * (
            np.minimum(size, 1e100) ** 2 + model.exp_ulp**2 + 1  # the square of more would overflow
        )
        # Parts merged by exp(lse_i - lse) are never normalised together: the roundings of lse stay as a common factor.
        log_sum = np.abs(peak) + np.log(np.maximum(total, 1.0))
        self.merging = np.expm1(2 * unit * (log_sum + 1)) if model.split_keys else np.zeros_like(log_sum)
        if model.split_keys:
            shift = shift + 2 * unit * log_sum
            shift_variance = shift_variance + (unit * log_sum) ** 2
        self.shift = np.minimum(shift, _LARGEST_SHIFT)
        self.shift_variance = shift_variance
        self.sum_roundings = keys + -(-keys // model.block) * (2 * model.exp_ulp + 2) + 4
        self.visible = visible
        lowest = (weights * np.exp(-self.shift)).sum(-1, keepdims=True)
        highest = (weights * np.exp(self.shift)).sum(-1, keepdims=True)
        self.lowest = np.where(self.empty[..., None], 1.0, lowest)
        highest = np.where(self.empty[..., None], 1.0, highest)
        g = gamma(self.sum_roundings, unit)
        relative = np.maximum(np.exp(self.shift) / self.lowest - 1, 1 - np.exp(-self.shift) / highest)
        weights = np.where(self.empty[..., None], empty_weight(keys, empty_rows), weights)
        with np.errstate(invalid="ignore"):
            relative = relative + (1 + relative) * (2 * g / (1 - g) if g < 1 else np.inf)
            relative = relative + (1 + relative) * self.merging
            bound = np.minimum(np.nan_to_num(weights) * relative, 1.0) + np.where(visible, model.acc.smallest, 0.0)
            bound = bound + model.io.roundoff * (np.abs(weights) + bound) + model.io.half_spacing
        common = (weights**2 * shift_variance).sum(-1, keepdims=True)  # of the normaliser, which all of a row share
        common = common + self.merging**2
        common = common + _MEAN_SQUARE_ROUNDING * unit**2 * (keys / 3 + 1)  # of the sum of the exponentials
        variance = weights**2 * (shift_variance + common) + _rounding_variance(weights, model.io)
        super().__init__(model, weights, bound, variance)
        self.stored = True
        self.overflows |= scores.overflows

    def __matmul__(self, values: Any) -> Tracked:
        """Return weights times values with the bound B = min(B1 + B2 + B3 + B4, cap) of the module's docstring.

        B1 the scores' errors, B2 the relative errors of sums and stored weights, B3 what vanishes below the smallest
        number, B4 the values' own errors; the cap is that a weighted mean stays within its values.
        """
        model, unit = self.model, self.model.acc.roundoff
        p, n = self.value, self.shape[-1]
        v = values.value
        magnitude = np.abs(v)
        out = p @ v
        grown = np.nan_to_num(p) * np.exp(self.shift)
        g = gamma(self.sum_roundings, unit)
        stored = model.probabilities.roundoff
        theta = (1 + stored) * (1 + g) ** 2 * (1 + self.merging) - 1  # (..., Lq, 1)

        w = np.nan_to_num(p) * np.expm1(self.shift)
        spread = _weighted_spread(w, v, out)
        with np.errstate(invalid="ignore", over="ignore"):
            b1 = np.sqrt(w.sum(-1, keepdims=True) * spread) / self.lowest
            b2 = theta * (grown @ magnitude) / self.lowest
            b3 = (model.probabilities.half_spacing + model.acc.smallest) * (self.visible.astype(np.float64) @ magnitude)
            bound = b1 + b2 + b3
            if not isinstance(values.bound, float):
                bound = bound + (1 + theta) * (grown @ values.bound) / self.lowest
            cap = magnitude.max(-2, keepdims=True, initial=0.0) * (1 + theta) + np.abs(out)
            if not isinstance(values.bound, float):
                cap = cap + (1 + theta) * np.max(values.bound, -2, keepdims=True, initial=0.0)
            bound = np.minimum(np.nan_to_num(bound, nan=np.inf, posinf=np.inf), cap)

        squares = p**2
        variance = _weighted_spread(squares * self.shift_variance, v, out)
        step = np.maximum((stored * p) ** 2 * _MEAN_SQUARE_ROUNDING, model.probabilities.half_spacing**2 / 3)
        variance = variance + np.minimum(step, squares) @ v**2
        # Two sums, of the products and of the exponentials, and the quotient.
        variance = variance + _sum_variance(n, squares @ v**2, out, model.acc) + (self.merging * out) ** 2
        variance = variance + _MEAN_SQUARE_ROUNDING * unit**2 * (n / 3 + 2) * out**2
        if not isinstance(values.bound, float):
            variance = variance + squares @ values.variance
        result = self._rounded(out, bound, variance, model.io)
        result.overflows |= values.overflows
        result.direct = True
        return result


def _weighted_spread(w: Array, v: Array, centre: Array) -> Array:
    """Return sum_j w_j (v_j - centre)^2 by matrix products, with a guard for what cancels in the expanded square."""
    total = w.sum(-1, keepdims=True)
    plain = w @ v**2
    square = plain - 2 * centre * (w @ v) + centre**2 * total
    guard = 8 * w.shape[-1] * 2.0**-53 * (plain + centre**2 * total)
    return np.maximum(square, 0.0) + guard


def _rounding_variance(value: Array, fmt: Format) -> Array:
    """Variance of one rounding to nearest: ulp^2 / 12, ulp = 2^e u for 2^(e-1) <= |value| < 2^e, or the subnormals'."""
    ulp = np.maximum(np.ldexp(fmt.roundoff, np.frexp(np.nan_to_num(value))[1]), 2 * fmt.half_spacing)
    return ulp**2 / 12


def _sum_variance(n: int, squares: Array, total: Array, acc: Format) -> Array:
    """Variance of a sum of n products: each product's rounding, and those of the partial sums."""
    return _MEAN_SQUARE_ROUNDING * acc.roundoff**2 * ((n / 2 + 1) * squares + (n / 3 + 1) * total**2)


def _full(x: Array | float, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(x, shape)


@dataclass(frozen=True, slots=True)
class Budget:
    """The exact result, and how far from it an implementation of the declared arithmetic may be.

    value      float64 reference
    bound      largest error of each element, deterministic
    deviation  standard deviation of the error of each element
    linear     rows (the value's shape without its last axis) whose score errors are small enough that the deviation
               means something; None where the result passed through more than the weighted sum
    empty      rows that see no key, or None where there are no scores
    overflow   why the problem lies outside the dtype's range, or ""
    """

    value: Array
    bound: Array
    deviation: Array
    linear: NDArray[np.bool_] | None
    empty: NDArray[np.bool_] | None
    overflow: str = ""


_FIRST_ORDER = 0.25  # a log-weight error beyond this is no longer first order (NUMERICS, section 3)


def budgets(
    evaluate: Callable[..., tuple[Any, Any]],
    tensors: Mapping[str, Array],
    options: Mapping[str, Any],
    dtype: str,
    arithmetic: Arithmetic,
) -> tuple[Budget, Budget | None]:
    """Return the budgets of the output and of the weights: `evaluate` run on tracked inputs.

    The inputs are exact: they are the very numbers, rounded to the dtype, that the implementation receives.
    """
    model = Model.of(arithmetic, dtype)
    tracked = {name: Tracked(model, np.asarray(array, np.float64)) for name, array in tensors.items()}
    output, weights = evaluate(**tracked, **options)
    own = isinstance(output, Weights)
    scores = weights if isinstance(weights, Weights) else None
    weighs = scores is not None and (own or output.direct)
    linear = (scores.shift.max(-1, initial=0.0) <= _FIRST_ORDER) if scores is not None and weighs else None
    empty = None if scores is None else scores.empty
    return _budget(output.as_output(), linear, empty, dtype), None if scores is None else _budget(
        scores, None, empty, dtype
    )


def _budget(result: Tracked, linear: Any, empty: Any, dtype: str) -> Budget:
    # In float64 the reference makes errors of the same size as what it judges.
    share = 2.0 if dtype == "float64" else 1.0
    overflow = f"a step of the formula exceeds the largest {dtype}" if result.overflows else ""
    bound = np.broadcast_to(result.bound, result.shape) * share
    deviation = np.sqrt(np.broadcast_to(result.variance, result.shape) * share)
    return Budget(result.value, bound, deviation, linear, empty, overflow)
