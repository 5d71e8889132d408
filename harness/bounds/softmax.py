r"""The softmax and its sum with the values, by the closed form: a step-by-step bound would be far too loose.

An implementation's log-weights err by $\delta_j$, $|\delta_j| \le$ `shift`. A common factor of a row cancels, so that

$$\delta o = \frac{\sum_j p_j (e^{\delta_j} - 1)(v_j - o)}{\sum_j p_j e^{\delta_j}}$$

which is exact, since $\sum_j p_j (v_j - o) = 0$.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.difference import Difference
from attention_harness.bounds.exact_rows import exact_rows, sums_exactly
from attention_harness.bounds.independence import independent_errors
from attention_harness.bounds.means import log_mean, weighted_spread
from attention_harness.bounds.rounding import (
    MEAN_SQUARE_ROUNDING,
    Array,
    compound,
    gamma,
    representable,
    rounding_variance,
    sum_variance,
)
from attention_harness.model.dtypes import Code
from attention_harness.reference.arrays import Words, empty_weight

LARGEST_SHIFT = 40.0  # e^40 u exceeds 1 in every format: beyond this a log-weight's error says nothing anyway
_LOOKED_AT = 64  # keys by which rows are told apart
_UNDERFLOW = 745.0  # e^-745 is the least number of float64


class Weights(Difference):
    r"""The softmax of tracked scores. Its product with the values uses the exact form of the whole.

    shift           bound of the log-weights' errors, but for what a row shares; `shift_variance` their variance
    alone           the same of each score by itself, which need not cancel where weights are computed again
    unclear         keys whose scores err so much that they may weigh anything
    grown, excess   what an unnormalised weight may be at most, and how much more than it is
    lowest          the least that the normaliser may be, in units of the right one; `log_lowest` its logarithm
    theta           relative error of a stored weight and of the sums, whatever the scores' errors
    merging, again  relative error of a row by merging parts of the keys, and by computing the weights again
    apart           relative error between two ways to a weight, exp(s - lse) and exp(s - max) / sum
    empty           rows that see no key
    whole           these weights with those of columns that have no value, which are not handed out
    storings        how often a weight is stored before it meets the values; of a difference more than once
    amplified       by how much the rounding of a gradient of these weights grows, of a difference
    exact           rows whose weights are exactly 2^-k in every order of every softmax: 2^k keys, each with the score 0
    """

    stored = True
    storings = 1
    amplified: Any = 0.0

    def __init__(self, scores: Any, visible: NDArray[np.bool_], fully_masked_rows: Words) -> None:
        self.model, self.scores, self.visible = scores.model, scores, visible
        self.overflows = scores.overflows
        model, unit, keys = self.model, self.model.acc.roundoff, scores.shape[-1]
        peak = np.max(scores.value, -1, keepdims=True, initial=-np.inf, where=visible)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        gap = np.where(visible, scores.value - peak, 0.0)
        exponentials = np.where(visible, np.exp(gap), 0.0)
        total = exponentials.sum(-1, keepdims=True)
        weights = np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)
        self.empty, self.peak, self.total, self.whole = np.asarray(~visible.any(-1)), peak, total, self
        self.value = np.where(self.empty[..., None], empty_weight(keys, fully_masked_rows), weights)
        # Parts merged by exp(lse_i - lse) are never normalised together: the roundings of lse stay as a common factor.
        log_sum = np.abs(peak) + np.log(np.maximum(total, 1.0))
        common = np.expm1(np.minimum(2 * unit * (log_sum + 1), LARGEST_SHIFT))
        self.merging = common if model.split_keys else np.zeros_like(log_sum)
        self.again = common if model.fused else np.zeros_like(log_sum)
        either_way = np.expm1(np.minimum(2 * unit * (log_sum + np.abs(gap) + 1), LARGEST_SHIFT))
        self.apart = either_way if model.split_keys else np.zeros_like(log_sum)
        self.alone, self.shift_variance = self._log_errors(gap, log_sum)
        shift, unclear = self._beside_the_heaviest(self.alone, gap, weights)
        self.shift = np.minimum(shift, LARGEST_SHIFT)
        self.unclear = unclear
        p = np.nan_to_num(self.value)
        self.grown = np.where(unclear, np.exp(LARGEST_SHIFT), p * np.exp(self.shift))
        self.excess = np.where(unclear, np.exp(LARGEST_SHIFT), p * np.expm1(self.shift))
        self.log_lowest = log_mean(weights, -self.shift)
        self.lowest = np.exp(self.log_lowest)
        sums = gamma(keys + -(-keys // model.block) * (2 * model.exp_ulp + 2) + 4, unit)
        self.g = sums + keys * model.acc.smallest  # exponentials that vanish; their sum is 1 or more
        self.theta = compound(model.probabilities.roundoff, self.g, self.g, self.merging)  # (..., Lq, 1)
        self.exact = exact_rows(self)

    def _log_errors(self, gap: Array, log_sum: Array) -> tuple[Array, Array]:
        """Return bound and variance of the log-weights' errors: the scores', the subtractions', the exponential's."""
        model, unit, visible, scores = self.model, self.model.acc.roundoff, self.visible, self.scores
        size = np.abs(gap) + np.where(visible, np.abs(scores.value), 0.0)
        shift = np.where(visible, scores.bound, 0.0) + 2 * unit * size + 4 * model.exp_ulp * unit
        variance = np.where(visible, scores.variance, 0.0) + MEAN_SQUARE_ROUNDING * unit**2 * (
            np.minimum(size, 1e100) ** 2 + model.exp_ulp**2 + 1  # the square of more would overflow
        )
        if model.split_keys:
            shift = shift + 2 * unit * log_sum
            variance = variance + (unit * log_sum) ** 2
        # The only key that a row sees has the weight 1 whatever its score: e^s / e^s.
        alone = visible.sum(-1, keepdims=True) == 1
        return shift, np.where(alone, 0.0, variance)

    def _beside_the_heaviest(self, shift: Array, gap: Array, weights: Array) -> tuple[Array, NDArray[np.bool_]]:
        r"""Return the shift with the error of a row's heaviest key k taken out, where that key decides the row.

        A row shares any factor, so $\delta_j - \delta_k$ serves as well as $\delta_j$: 0 for k, and at most both bounds
        for the others. Returned too: which keys may weigh anything, for all that is known of their scores.
        """
        if not weights.size:
            return shift, np.zeros(weights.shape, bool)
        place = np.argmax(np.where(self.visible, gap, -np.inf), -1)[..., None]
        others = self.visible & (np.arange(weights.shape[-1]) != place)
        relative = np.where(others, shift + np.take_along_axis(shift, place, -1), 0.0)
        unclear = others & (relative > LARGEST_SHIFT) & (gap + relative > -_UNDERFLOW)
        decides = (np.take_along_axis(weights, place, -1) > 0.5) & ~unclear.any(-1, keepdims=True)
        return np.where(decides, relative, shift), unclear

    @functools.cached_property
    def looked_at(self) -> Array:
        """The weights of some of the keys, cut to a sixteenth of the stored format's precision: alike, they err alike.

        Exact weights that differ by less are stored as the same number, with the same error.
        """
        keys, bits = self.shape[-1], self.model.probabilities.precision + 4
        some = np.nan_to_num(self.value[..., :: max(1, keys // _LOOKED_AT)])
        significand, exponent = np.frexp(some)
        return np.ldexp(np.rint(np.ldexp(significand, bits)), exponent - bits)

    @functools.cached_property
    def _alike(self) -> NDArray[np.int64]:
        """Return, of some of the keys, how many of them have the same weight as each; 0 for a weight of 0."""
        some = self.looked_at
        apart = np.sort(np.where(some > 0, some, -1.0 - np.arange(some.shape[-1])), -1)
        group = np.cumsum(np.diff(apart, axis=-1, prepend=-np.inf).ravel() > 0) - 1
        return np.where(apart > 0, np.bincount(group)[group].reshape(apart.shape) if group.size else 0, 0)

    @functools.cached_property
    def repeated(self) -> NDArray[np.bool_]:
        """Rows in which every weight is there twice or more, on average over the keys, (..., Lq, 1)."""
        count = (self._alike > 0).sum(-1, keepdims=True)
        unlike = np.rint(np.sum(1.0 / np.maximum(self._alike, 1), -1, keepdims=True, where=self._alike > 0))
        return np.asarray(2 * (count - unlike) >= np.maximum(count, 2))

    @functools.cached_property
    def _partial_sums(self) -> Array:
        r"""Return how many roundings the exponentials' sum has: $\sum_i (i/n)^2 + f^2 (\sum_i i/n)^2$.

        f is the part of the terms that are alike. They are rounded alike, one partial sum after the other, so that
        their errors add up.
        """
        keys, looked_at = self.shape[-1], max(self._alike.shape[-1], 1)
        squares = np.sum(self._alike, -1, keepdims=True, where=self._alike > 1) / looked_at**2
        return keys / 3 + squares * (keys / 2) ** 2

    @property
    def _of_normaliser(self) -> Array:
        """The variance of a row's common factor, relative: of the exponentials' sum, the quotient and a merging."""
        unit = self.model.acc.roundoff
        return self.merging**2 + MEAN_SQUARE_ROUNDING * unit**2 * (self._partial_sums + 2)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def log_sum_exp(self) -> Array:
        """The logarithm of each row's denominator, (..., Lq, 1); -inf in a row that sees no key."""
        found = self.peak + np.log(np.maximum(self.total, 1.0))  # the largest exponential is 1
        return np.where(self.empty[..., None], -np.inf, found)

    def as_output(self) -> Weights:
        """Return these weights: their bound is that of what is handed out."""
        return self

    def of_keys(self, keys: int) -> Weights:
        """Return the weights of the first keys, as they are handed out: of columns that have no value none is."""
        made = copy.copy(self)
        made.bound, made.variance = self.bound[..., :keys], self.variance[..., :keys]
        made.value, made.visible = self.value[..., :keys], self.visible[..., :keys]
        return made

    @functools.cached_property
    def bound(self) -> Array:
        """The bound of the weights themselves. Their product with the values does without."""
        model, weights, g = self.model, self.value, self.g
        log_highest = log_mean(np.nan_to_num(weights), self.shift)
        relative = np.maximum(np.expm1(self.shift - self.log_lowest), -np.expm1(-self.shift - log_highest))
        with np.errstate(invalid="ignore"):
            relative = compound(relative, 2 * g / (1 - g) if g < 1 else np.inf, self.merging)
            bound = np.minimum(np.nan_to_num(weights) * relative + self.unclear, 1.0)
            bound = bound + np.where(self.visible, model.acc.smallest, 0.0)
            bound = bound + model.io.roundoff * (np.abs(weights) + bound) + model.io.half_spacing
            return np.where(self.exact, 0.0, bound)

    @functools.cached_property
    def variance(self) -> Array:
        """The variance of the weights themselves. Their product with the values does without."""
        weights = self.value
        common = (weights**2 * self.shift_variance).sum(-1, keepdims=True)  # of the normaliser, which a row shares
        common = common + self._of_normaliser
        return weights**2 * (self.shift_variance + common) + rounding_variance(weights, self.model.io)

    # --- the weighted sum of values

    def __matmul__(self, values: Any) -> Any:
        """Return weights times values."""
        out = self.value @ values.value
        exact = sums_exactly(self, values)
        bound = np.where(exact, 0.0, self._bound_of_sum(values, out))
        result = self.scores.rounded(out, bound, self._variance_of_sum(values, out), self.model.io)
        shift = self.value**2 * self.shift_variance
        result.independent = independent_errors(
            shift, self._of_storing, self._of_normaliser, values.value, out, result.variance
        )
        result.bound = np.where(exact & representable(out, self.model.io), 0.0, result.bound)
        result.overflows |= values.overflows
        result.of_rounded = not isinstance(values.bound, float)
        return result

    def _bound_of_sum(self, values: Any, out: Array) -> Array:
        r"""Return $B = \min(B_1 + B_2 + B_3 + B_4, \text{cap})$.

        B1: the scores' errors, by Cauchy and Schwarz. B2: the relative errors of sums and stored weights. B3: what
        vanishes below the smallest number. B4: the values' errors. The cap: a weighted mean stays within its values.
        """
        theta, magnitude = self.theta, np.abs(values.value)
        grown, w = self.grown, self.excess
        with np.errstate(invalid="ignore", over="ignore"):
            total = w.sum(-1, keepdims=True)  # divided out: beside sinks it is so small that its square is 0
            shares = np.divide(w, total, out=np.zeros_like(w), where=total > 0)
            b1 = total * np.sqrt(weighted_spread(shares, values.value, out)) / self.lowest
            b2 = theta * (grown @ magnitude) / self.lowest
            weighed = self._weighed.astype(np.float64)
            b3 = self._half_spacing * (weighed @ magnitude) + weighed @ self._vanishing(magnitude)
            bound = b1 + b2 + b3
            cap = magnitude.max(-2, keepdims=True, initial=0.0) * (1 + theta) + np.abs(out)
            if not isinstance(values.bound, float):
                bound = bound + (1 + theta) * (grown @ values.bound) / self.lowest
                cap = cap + (1 + theta) * np.max(values.bound, -2, keepdims=True, initial=0.0)
            return np.minimum(np.nan_to_num(bound, nan=np.inf, posinf=np.inf), cap)

    @property
    def _weighed(self) -> NDArray[np.bool_]:
        """The keys whose products a row's sum has: those that it sees, or all where it sees none and is their mean."""
        return np.asarray(self.visible | (self.value > 0))

    def _vanishing(self, magnitude: Array) -> Array:
        """Return what a term of a weighted sum loses where its product is below the smallest number."""
        return self.model.acc.smallest * np.maximum(magnitude, 1.0)

    @property
    def least(self) -> float:
        """The smallest weight with all its digits. Codes are those of exponentials, the largest of which is 1."""
        model = self.model
        return max(0.0 if isinstance(model.probabilities, Code) else model.probabilities.smallest, model.io.smallest)

    @property
    def _half_spacing(self) -> Any:
        """What a stored weight errs where it is small. Codes are of exponentials, later divided by their sum."""
        sums = np.maximum(self.total, 1.0) if isinstance(self.model.probabilities, Code) else 1.0
        return self.storings * self.model.probabilities.half_spacing / sums

    @functools.cached_property
    def _of_storing(self) -> Array:
        """The variance of each weight that comes from storing it, once or more often."""
        relative = (self.model.probabilities.roundoff * self.value) ** 2 * MEAN_SQUARE_ROUNDING
        step = np.maximum(relative, (self._half_spacing / self.storings) ** 2 / 3)
        return np.minimum(self.storings * step, self.value**2)

    def _variance_of_sum(self, values: Any, out: Array) -> Array:
        model, v, n = self.model, values.value, self.shape[-1]
        squares = self.value**2
        variance = weighted_spread(squares * self.shift_variance, v, out)
        step = self._of_storing
        independent = step @ v**2
        if self.repeated.any():  # what errs alike adds up
            independent = np.where(self.repeated, (np.sqrt(step) @ np.abs(v)) ** 2, independent)
        variance = variance + independent
        # Two sums, of the products and of the exponentials, and the quotient.
        variance = variance + sum_variance(n, squares @ v**2, out, model.acc) + self._of_normaliser * out**2
        # Many kernels flush products below the smallest normal number to 0: these errors have one sign, and add up.
        flushed = np.minimum(
            np.nan_to_num(self.value) @ np.abs(v), self._weighed.sum(-1, keepdims=True) * model.acc.smallest
        )
        variance = variance + flushed**2
        return variance if isinstance(values.bound, float) else variance + squares @ values.variance

    # --- the way back

    @functools.cached_property
    def factor(self) -> Any:
        """The weights as the backward pass multiplies with them: stored as declared, or computed again (`fused`).

        Those of many kernels are exp(s - lse) with scores that are computed again: no error of these cancels.
        """
        model, weights = self.model, np.nan_to_num(self.value)
        shift = np.minimum(self.alone, LARGEST_SHIFT)
        with np.errstate(invalid="ignore", over="ignore"):
            relative = compound(np.expm1(shift - log_mean(weights, -shift)), self.theta, self.again)
            bound = weights * np.nan_to_num(relative, nan=np.inf, posinf=np.inf) + self.unclear * np.exp(LARGEST_SHIFT)
        least = self._half_spacing + model.acc.smallest
        bound = np.where(self.visible, bound + least, 0.0)
        return self.scores.like(weights, bound, self.variance)

    @property
    def _of_products(self) -> float:
        """The relative error of a product that is stored before it is summed, beyond what the sum's own bound has."""
        return self.model.step.roundoff if self.model.step.roundoff > self.model.acc.roundoff else 0.0

    def swapaxes(self, first: int, second: int) -> Any:
        result = self.factor.swapaxes(first, second)
        result.model = replace(self.model, partial=self.model.gradient_block)
        return result

    def __mul__(self, other: Any) -> Any:
        return self.factor * other

    def incoming(self, adjoint: Any, values: Any, out: Any) -> Any:
        r"""Return the gradient of the weights, $\bar P = \bar O V^\top$, with what its mean may err by the output.

        The mean $\sum_j P_{ij} \bar P_{ij}$ is also $\sum_v \bar O_{iv} O_{iv}$, which fused kernels compute: its error
        is that of the stored output and of a sum over v. Whoever wraps such a kernel may not know it, so that it is
        allowed to all. Values may come as two matrices whose product they are: either pair may be multiplied first.
        """
        model = self.model
        if isinstance(values, tuple):
            inner, outer = values
            before = (adjoint @ outer.swapaxes(-1, -2)).as_output()
            return self.incoming(adjoint, (inner @ outer).as_output(), out).either(
                self.incoming(before, inner, self @ inner)
            )
        partial = 0 if model.fused else model.gradient_block  # a fused kernel keeps this sum in its accumulator
        factor = adjoint.like(adjoint.value, adjoint.bound, adjoint.variance)
        factor.model = replace(model, partial=partial)
        result = factor @ values.swapaxes(-1, -2)
        size = np.abs(adjoint.value)
        relative = compound(gamma(values.shape[-1] + 1, model.acc.roundoff), self._of_products)
        error = out.bound + relative * np.abs(out.value)
        by_output = size * error + adjoint.bound * (np.abs(out.value) + error) + model.step.half_spacing
        result.by_output = by_output.sum(-1, keepdims=True)
        result.bound = result.bound + self.amplified * model.step.half_spacing
        return result

    def mean(self, x: Any) -> Any:
        """Return sum_j p_j x_j, row by row, by the closed form of the product with the values: (..., Lq, 1)."""
        model, p = self.model, np.nan_to_num(self.value)
        value = (p * x.value).sum(-1, keepdims=True)
        grown = self.grown / self.lowest
        magnitude = np.abs(x.value)
        theta = compound(self.theta, self.again, self._of_products)
        with np.errstate(invalid="ignore", over="ignore"):
            bound = (self.excess * np.abs(x.value - value)).sum(-1, keepdims=True) / self.lowest
            bound = bound + theta * (grown * magnitude).sum(-1, keepdims=True)
            bound = bound + (1 + theta) * (grown * x.bound).sum(-1, keepdims=True)
            vanishing = self._half_spacing * magnitude + self._vanishing(magnitude) + model.step.half_spacing
            bound = bound + (self.visible * vanishing).sum(-1, keepdims=True)
            bound = np.nan_to_num(bound, nan=np.inf, posinf=np.inf)
        if x.by_output is not None:
            bound = np.maximum(bound, x.by_output)
        squares = (p**2 * (self.shift_variance * (x.value - value) ** 2 + x.variance)).sum(-1, keepdims=True)
        variance = squares + sum_variance(self.shape[-1], ((p * x.value) ** 2).sum(-1, keepdims=True), value, model.acc)
        return self.scores.rounded(value, bound, variance, model.step)

    def scores_gradient(self, adjoint: Any) -> Any:
        r"""Return $\bar S = P (\bar P - \sum_j P \bar P)$, stored like the weights before it meets keys and queries.

        Or the difference of two products, each of them stored, of weights that were computed in two ways. The gradient
        of a sink is that of its own weight, or of the keys' share $\sigma$, of which $1 - \sigma$ may be rounded.
        """
        mean = self.mean(adjoint)
        result = self.factor * (adjoint - mean)
        size = np.nan_to_num(self.value) * (np.abs(adjoint.value) + np.abs(mean.value))
        apart = (self._of_products + self.apart) * size + 2 * self.model.step.half_spacing
        if self.scores.keyless:
            apart[..., -self.scores.keyless :] += 4 * self.model.acc.roundoff * (np.abs(mean.value) + mean.bound)
        result.bound = result.bound + np.where(self.visible, apart, 0.0)
        if self.model.probabilities is self.model.io:
            result = result.as_output()
        result.model = replace(self.model, partial=self.model.gradient_block)
        return result
