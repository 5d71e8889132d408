"""The softmax of a simulated implementation, and what its backward pass makes of the weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np


class SimulatedWeights:
    """The softmax of simulated scores: exponentials of the gaps to the peak through powers of two, with their sum.

    Under `split_keys` the keys come in two parts, each normalised, that are merged through their log-sum-exp.
    """

    stored = True
    storings = 1  # of a weight, before it meets the values

    def __init__(self, scores: Any, visible, fully_masked_rows: str):
        assert np.isin(fully_masked_rows, ("zero", "mean")).all()
        self.model, self.adversary, self.scores = scores.model, scores.adversary, scores
        means = ~visible.any(-1, keepdims=True) & (np.asarray(fully_masked_rows) == "mean")
        self.visible, self.held = visible | means, np.where(means, 0.0, scores.held)  # of hidden keys that are only low
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
        scores, visible, adversary = self.held[..., part], self.visible[..., part], self.adversary
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

    def as_output(self) -> Any:
        return self.scores.put(self.weights(), self.model.io)

    def of_keys(self, keys: int) -> Any:
        return self.as_output()[..., :keys]

    def __matmul__(self, values):
        model, adversary = self.model, self.adversary
        if model.probabilities is model.io or len(self.parts) > 1 or self.storings > 1:
            stored = self._stored(self.weights())
            made = adversary.dot(stored, values.held, model.acc)
        else:  # the sum of unnormalised products, divided last
            masses, total, _ = self.parts[0]
            made = adversary.dot(masses, values.held, model.acc)
            made = adversary.store(made / np.where(total > 0, total, 1.0), model.acc)
        result = self.scores.put(made, model.io)
        return result

    def _stored(self, weights):
        for _ in range(self.storings):
            weights = self.adversary.store(weights, self.model.probabilities)
        return weights

    # --- the difference of two

    def for_difference(self, factor=None):
        made = copy.copy(self)
        made.storings = 3
        return made

    def difference(self, factor, other):
        fmt = self.model.probabilities
        first, second = (self.scores.put(x.weights(sense), fmt, sense) for x, sense in ((self, 1), (other, -1)))
        product = self.adversary.store(second.held * factor.held, fmt, -1)
        return self.scores.put(first.held - product, fmt)

    def difference_sum(self, factor, other, values):
        if not self.adversary.late():
            return self @ values - (other @ values) * factor
        made = self.difference(factor, other).held
        return self.scores.put(self.adversary.dot(made, values.held, self.model.acc), self.model.io)

    # --- the way back

    @property
    def factor(self) -> Any:
        """The weights as the backward pass multiplies with them: as stored, or computed again from the logarithm."""
        model, adversary = self.model, self.adversary
        made = self.weights()
        if model.fused and adversary.mode != "nearest":
            log_sum = np.logaddexp.reduce([np.log(np.maximum(total, 1.0)) + peak for _, total, peak in self.parts])
            made = made * np.exp(adversary.direction(made.shape, 1) * 2 * model.acc.roundoff * np.abs(log_sum))
        return self.scores.like(np.where(self.visible, self._stored(made), 0.0))

    def swapaxes(self, first, second):
        result = self.factor.swapaxes(first, second)
        result.model = replace(self.model, partial=self.model.gradient_block)
        return result

    def __mul__(self, other):
        return self.factor * other

    def incoming(self, adjoint, values, out):
        model = self.model
        if isinstance(values, tuple):
            inner, outer = values
            if not self.adversary.late():
                return self.incoming(adjoint, (inner @ outer).as_output(), out)
            return self.incoming((adjoint @ outer.swapaxes(-1, -2)).as_output(), inner, self @ inner)
        factor = adjoint.like(adjoint.held)
        factor.model = replace(model, partial=0 if model.fused else model.gradient_block)
        result = factor @ values.swapaxes(-1, -2)
        if self.adversary.late():  # from the stored output, or by the sum of `mean`
            products = self.adversary.store(adjoint.held * out.held, model.step)
            result.by_output = self.adversary.sum(products, model.acc)
        return result

    def mean(self, x):
        made = x.by_output
        if made is None:
            products = self.adversary.store(self.factor.held * x.held, self.model.step)
            made = self.adversary.sum(products, self.model.acc)
        return self.scores.put(made, self.model.step)

    def scores_gradient(self, adjoint):
        factor, mean = self.factor, self.mean(adjoint)
        result = factor * adjoint - factor * mean if self.adversary.late() else factor * (adjoint - mean)
        if self.model.probabilities is self.model.io:
            result = result.as_output()
        result.model = replace(self.model, partial=self.model.gradient_block)
        return result
