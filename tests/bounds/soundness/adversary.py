"""An implementation of a declared arithmetic whose every rounding an adversary chooses, as arrays for the formulas.

`Simulated` computes in float64 what an implementation would hold, and errs at every step by as much as the format of
that step allows. The formats are far coarser than float64, whose own errors do not count. Each operation is written
out from scalar steps - products, additions, stores - and shares nothing with the bounds but the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attention_harness.bounds.rounding import Model
from attention_harness.model.dtypes import DType


def nearest(x, fmt: DType):
    """Return numbers rounded to nearest even in a format."""
    exponent = np.frexp(x)[1]
    unit = np.maximum(exponent - fmt.precision, fmt.least_exponent - fmt.precision + 1)
    return np.ldexp(np.rint(np.ldexp(x, -unit)), unit)


def largest(fmt: DType) -> float:
    """Return the largest relative error of a rounding to nearest: that of 1 + u."""
    return fmt.roundoff / (1 + fmt.roundoff)


@dataclass
class Adversary:
    """Who decides how each rounding errs.

    mode  "nearest": to nearest even; "random": by the largest error, up or down by chance; "up", "down": by the largest
          error in the direction that moves the result of the operation up, or down, where all numbers are positive
    """

    mode: str
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def direction(self, shape: tuple[int, ...], sense: float) -> Any:
        """Return -1 or 1 for every element. sense: the sign of the result's derivative by what is rounded."""
        if self.mode == "random":
            return self.rng.choice([-1.0, 1.0], shape)
        return sense if self.mode == "up" else -sense

    def off(self, x, relative: float, absolute: float = 0.0, sense: float = 1):
        """Return numbers that err by a relative or an absolute error, whichever is larger; zeros are exact."""
        if self.mode == "nearest":
            return x
        return x + np.where(
            x == 0, 0.0, self.direction(np.shape(x), sense) * np.maximum(relative * np.abs(x), absolute)
        )

    def store(self, x, fmt: DType, sense: float = 1):
        """Return numbers stored in a format."""
        return nearest(x, fmt) if self.mode == "nearest" else self.off(x, largest(fmt), fmt.half_spacing, sense)

    def relative(self, x, fmt: DType, sense: float = 1):
        """Return numbers stored in a format, none of which is rounded to a subnormal number."""
        return nearest(x, fmt) if self.mode == "nearest" else self.off(x, largest(fmt), sense=sense)

    def product(self, a, b, fmt: DType, sense: float = 1):
        """Return products in a format; one below the smallest normal number may vanish."""
        return self.flushed(self.store(a * b, fmt, sense), fmt, sense)

    def flushed(self, x, fmt: DType, sense: float = 1):
        """Return numbers of which some below the smallest normal number are zero: those that a zero moves as wanted."""
        if self.mode == "nearest":
            return x
        wanted = np.sign(x) != self.direction(x.shape, sense)
        return np.where((np.abs(x) < fmt.smallest) & wanted, 0.0, x)

    def added(self, terms: Sequence[Any], fmt: DType, sense: float = 1):
        """Return the sum of terms, one after the other, each partial sum stored; subnormal sums are exact."""
        order = self.rng.permutation(len(terms)) if self.mode == "random" else range(len(terms))
        total = None
        for k in order:
            total = terms[k] if total is None else self.relative(total + terms[k], fmt, sense)
        return np.zeros(()) if total is None else total

    def sum(self, x, fmt: DType, sense: float = 1):
        """Return the sum along the last axis, which stays with length 1."""
        if x.shape[-1] == 0:
            return np.zeros((*x.shape[:-1], 1))
        return self.added([x[..., k : k + 1] for k in range(x.shape[-1])], fmt, sense)

    def dot(self, a, b, fmt: DType, sense: float = 1, partial: int = 0, store: DType | None = None):
        """Return a matrix product; with `partial`, sums over so many terms are stored and added up in `store`."""
        k = a.shape[-1]
        terms = [self.product(a[..., :, j : j + 1], b[..., j : j + 1, :], fmt, sense) for j in range(k)]
        if not terms:
            return np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
        if not partial or k <= partial:
            return self.added(terms, fmt, sense)
        blocks = [self.added(terms[j : j + partial], fmt, sense) for j in range(0, k, partial)]
        return self.added([self.store(block, store, sense) for block in blocks], store, sense)


class Simulated:
    """What an implementation holds in the place of an exact array. `model` and `stored` are as in `Tracked`."""

    def __init__(self, model: Model, adversary: Adversary, held: Any, *, stored: bool = False, exact: bool = False):
        self.model, self.adversary, self.held = model, adversary, held
        self.stored, self.exact = stored, exact
        self.by_output = None

    @property
    def shape(self):
        return self.held.shape

    @property
    def ndim(self):
        return self.held.ndim

    def like(self, held, **changes: Any) -> Simulated:
        return Simulated(self.model, self.adversary, held, **changes)

    def put(self, held, fmt: DType, sense: float = 1) -> Simulated:
        """Return an array stored in a format."""
        return self.like(self.adversary.store(held, fmt, sense), stored=fmt is self.model.io)

    def as_output(self) -> Simulated:
        return self if self.stored else self.put(self.held, self.model.io)

    # --- moves

    def _moved(self, move: Callable[[Any], Any]) -> Simulated:
        return self.like(move(self.held), exact=self.exact)

    def __getitem__(self, index):
        return self._moved(lambda x: x[index])

    def swapaxes(self, first, second):
        return self._moved(lambda x: x.swapaxes(first, second))

    def reshape(self, *shape):
        return self._moved(lambda x: x.reshape(shape))

    def repeat(self, repeats, axis):
        return self._moved(lambda x: x.repeat(repeats, axis))

    def transpose(self, *axes):
        return self._moved(lambda x: x.transpose(axes))

    def expand(self, shape):
        return self._moved(lambda x: np.broadcast_to(x, shape))

    def scatter(self, index, shape):
        whole = np.zeros(shape)
        whole[index] = self.held
        return self.like(whole)

    def without(self, hidden):
        return self._moved(lambda x: np.where(hidden, 0.0, x))

    def finite(self):
        return self._moved(lambda x: np.where(np.isneginf(x), 0.0, x))

    def __neg__(self):
        return self._moved(lambda x: -x)

    # --- arithmetic

    def _operand(self, other, sense: float = 1):
        """Return the numbers of an operand; what came from finer steps is stored in this one's first."""
        if isinstance(other, SimulatedWeights):
            return other.as_output().held
        if not isinstance(other, Simulated):
            return np.asarray(other, np.float64)
        finer = other.model.step.roundoff < self.model.step.roundoff and not other.exact
        return self.adversary.store(other.held, self.model.step, sense) if finer else other.held

    def __add__(self, other):
        return self.put(self.held + self._operand(other), self.model.step)

    __radd__ = __add__

    def __sub__(self, other):
        return self.put(self.held - self._operand(other, -1), self.model.step)

    def __mul__(self, other):
        return self.put(self.held * self._operand(other), self.model.step)

    __rmul__ = __mul__

    def __truediv__(self, number):
        return self * self.computed(1 / np.asarray(number, np.float64), 1)

    def total(self, terms):
        stored = [term.as_output().held for term in terms]
        return self.like(self.adversary.added(stored, self.model.io), stored=True)

    def sum(self, axis):
        assert axis == -1
        return self.put(self.adversary.sum(self.held, self.model.acc)[..., 0], self.model.step)

    def __matmul__(self, other):
        if other.ndim == 1:
            return (self @ other[:, None])[..., 0]
        model, a, b = self.model, self.held, other.held
        if model.scaled_inputs:  # a root of the scale on either side, rounded like its product
            for _ in range(2):
                a, b = self.adversary.off(a, largest(model.io)), self.adversary.off(b, largest(model.io))
        partial = max(model.partial, other.model.partial)
        made = self.adversary.dot(a, b, model.acc, partial=partial, store=model.io)
        summed = partial and partial < self.shape[-1]  # in the case's dtype, where the sum is stored already
        result = self.like(made, stored=True) if summed else self.put(made, model.step)
        result.model = replace(model, partial=0)
        return result

    # --- functions

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        unary = {np.tanh: self.tanh, np.sin: self.sin, np.cos: self.cos}
        if ufunc in unary:
            return unary[ufunc]()
        if ufunc is np.equal:
            return np.equal(self.held, inputs[1])
        return {np.add: self.__add__, np.multiply: self.__mul__}[ufunc](inputs[0])

    def _function(self, x):
        return self.put(self.adversary.off(x, 2 * self.model.exp_ulp * self.model.acc.roundoff), self.model.step)

    def tanh(self):
        return self._function(np.tanh(self.held))

    def sin(self):
        return self._function(np.sin(self.held))

    def cos(self):
        return self._function(np.cos(self.held))

    def computed(self, constant, roundings):
        value = np.asarray(constant, np.float64)
        exact = nearest(value, self.model.io) == value
        made = value
        for _ in range(round(roundings) + 1):
            made = np.where(exact, made, self.adversary.off(made, largest(self.model.acc)))
        result = self.like(made, exact=bool(exact.all()))
        result.model = replace(self.model, step=self.model.acc)
        return result

    # --- more than one operator

    @staticmethod
    def linear(parts, weight, bias):
        model, adversary, at, products = parts[0].model, parts[0].adversary, 0, []
        for part in parts:
            columns = weight.held[:, at : at + part.shape[-1]].T
            at += part.shape[-1]
            terms = [adversary.product(part.held[..., k : k + 1], columns[k], model.acc) for k in range(part.shape[-1])]
            if bias is not None and not products:
                terms.append(bias.held)
            made = adversary.added(terms, model.acc)
            products.append(adversary.store(made, model.io) if len(parts) > 1 else made)
        return parts[0].put(sum(products), model.io)

    def _length(self, sense: float):
        """Return the root of the sum of squares; a correct implementation scales them, so that none vanishes."""
        squares = self.adversary.relative(self.held**2, self.model.acc, sense)
        length = np.sqrt(self.adversary.sum(squares, self.model.acc, sense))
        return self.adversary.relative(length, self.model.acc, sense)

    def normalise(self):
        adversary, model = self.adversary, self.model
        length = adversary.relative(self._length(-1), model.step, -1)
        there = length > 0
        inverse = adversary.relative(np.where(there, 1 / np.where(there, length, 1.0), 0.0), model.acc)
        return self.put(adversary.relative(self.held * inverse, model.acc), model.step)

    def inverse_length(self):
        length = self.adversary.relative(self._length(-1), self.model.acc, -1)
        there = length > 0
        inverse = np.where(there, 1 / np.where(there, length, 1.0), 0.0)
        return self.put(self.adversary.relative(inverse, self.model.acc), self.model.step)

    def softmax(self, visible, fully_masked_rows):
        return SimulatedWeights(self, visible, fully_masked_rows)


class SimulatedWeights:
    """The softmax of simulated scores: exponentials of the gaps to the peak through powers of two, with their sum.

    Under `split_keys` the keys come in two parts, each normalised, that are merged through their log-sum-exp.
    """

    stored = True

    def __init__(self, scores: Simulated, visible, fully_masked_rows: str):
        assert fully_masked_rows == "zero"
        self.model, self.adversary, self.scores, self.visible = scores.model, scores.adversary, scores, visible
        half = scores.shape[-1] // 2
        parts = [slice(0, half), slice(half, None)] if self.model.split_keys and half else [slice(None)]
        self.parts = [self._part(part) for part in parts]

    @property
    def shape(self):
        return self.scores.shape

    @property
    def ndim(self):
        return self.scores.ndim

    def _part(self, part: slice):
        """Return exponentials of some keys, their sum, and the peak."""
        scores, visible, adversary = self.scores.held[..., part], self.visible[..., part], self.adversary
        acc, exp_ulp = self.model.acc, self.model.exp_ulp
        peak = np.max(scores, -1, keepdims=True, initial=-np.inf, where=visible)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        gap = np.where(visible, scores - peak, 0.0)
        if adversary.mode != "nearest":  # the factor log2(e), its product with each score, and the difference
            gap = gap + adversary.direction(gap.shape, 1) * acc.roundoff * (np.abs(gap) + 2 * np.abs(scores) * visible)
        masses = adversary.flushed(adversary.off(np.exp(gap), 2 * exp_ulp * acc.roundoff), acc)
        masses = np.where(visible, masses, 0.0)
        return masses, adversary.sum(masses, acc, -1), peak

    def _shares(self):
        """Return by which factor each part's normalised weights are merged."""
        if len(self.parts) == 1:
            return [1.0]
        adversary, acc = self.adversary, self.model.acc
        logs = []
        for _, total, peak in self.parts:
            log_sum = adversary.store(np.log(np.where(total > 0, total, 1.0)), acc)
            logs.append(np.where(total > 0, adversary.store(log_sum + peak, acc), -np.inf))
        highest = np.maximum(*logs)
        highest = np.where(np.isfinite(highest), highest, 0.0)
        whole = adversary.added([np.exp(log - highest) for log in logs], acc, -1)
        lse = adversary.store(np.log(np.where(whole > 0, whole, 1.0)) + highest, acc, -1)
        there = [np.isfinite(log) for log in logs]
        gaps = [np.where(seen, log, lse) - lse for log, seen in zip(logs, there, strict=True)]
        return [np.where(seen, np.exp(adversary.store(gap, acc)), 0.0) for gap, seen in zip(gaps, there, strict=True)]

    def weights(self, sense: float = 1):
        """Return the weights in the accumulator."""
        made = []
        for (masses, total, _), share in zip(self.parts, self._shares(), strict=True):
            quotient = masses / np.where(total > 0, total, 1.0)
            alone = quotient == 1
            quotient = np.where(alone, 1.0, self.adversary.store(quotient, self.model.acc, sense))
            made.append(quotient if len(self.parts) == 1 else self.adversary.store(quotient * share, self.model.acc))
        return np.concatenate(made, -1)

    def as_output(self) -> Simulated:
        return self.scores.put(self.weights(), self.model.io)

    def __matmul__(self, values):
        model, adversary = self.model, self.adversary
        if model.probabilities is model.io or len(self.parts) > 1:
            stored = adversary.store(self.weights(), model.probabilities)
            made = adversary.dot(stored, values.held, model.acc)
        else:  # the sum of unnormalised products, divided last
            masses, total, _ = self.parts[0]
            made = adversary.dot(masses, values.held, model.acc)
            made = adversary.store(made / np.where(total > 0, total, 1.0), model.acc)
        result = self.scores.put(made, model.io)
        result.unstored = made
        return result

    # --- the way back

    @property
    def factor(self) -> Simulated:
        """The weights as the backward pass multiplies with them: as stored, or computed again from the logarithm."""
        model, adversary = self.model, self.adversary
        made = self.weights()
        if model.fused and adversary.mode != "nearest":
            log_sum = np.logaddexp.reduce([np.log(np.maximum(total, 1.0)) + peak for _, total, peak in self.parts])
            made = made * np.exp(adversary.direction(made.shape, 1) * 2 * model.acc.roundoff * np.abs(log_sum))
        stored = np.where(self.visible, adversary.store(made, model.probabilities), 0.0)
        return self.scores.like(stored)

    def swapaxes(self, first, second):
        result = self.factor.swapaxes(first, second)
        result.model = replace(self.model, partial=self.model.gradient_block)
        return result

    def __mul__(self, other):
        return self.factor * other

    def incoming(self, adjoint, values, out):
        model = self.model
        factor = adjoint.like(adjoint.held)
        factor.model = replace(model, partial=0 if model.fused else model.gradient_block)
        result = factor @ values.swapaxes(-1, -2)
        if model.from_output:
            stored = out.held if model.fused else out.unstored
            products = self.adversary.product(adjoint.held, stored, model.acc)
            result.by_output = self.adversary.sum(products, model.acc)
        return result

    def mean(self, x):
        made = x.by_output
        if made is None:
            products = self.adversary.product(self.factor.held, x.held, self.model.acc)
            made = self.adversary.sum(products, self.model.acc)
        return self.scores.put(made, self.model.step)

    def scores_gradient(self, adjoint):
        result = self.factor * (adjoint - self.mean(adjoint))
        if self.model.probabilities is self.model.io:
            result = result.as_output()
        result.model = replace(self.model, partial=self.model.gradient_block)
        return result
