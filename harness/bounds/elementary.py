"""Elementary functions of tracked arrays: what an error in the argument becomes, and the function's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_harness.bounds.rounding import Array


class Elementary:
    """Of an array with a value, a bound and a variance."""

    def tanh(self: Any) -> Any:
        r"""Return tanh: $|\tanh(z + d) - \tanh z| \le \min(|d| \operatorname{sech}^2 t, 2)$, t nearest to 0."""
        value = np.tanh(self.value)
        nearest = np.maximum(np.abs(self.value) - self.bound, 0.0)
        bound = np.minimum(self.bound / np.cosh(np.minimum(nearest, 300.0)) ** 2, 2.0)
        return self._elementary(value, bound, self.variance * (1 - value**2) ** 2)

    def sin(self: Any) -> Any:
        return self._elementary(np.sin(self.value), np.minimum(self.bound, 2.0), self.variance)

    def cos(self: Any) -> Any:
        return self._elementary(np.cos(self.value), np.minimum(self.bound, 2.0), self.variance)

    def _elementary(self: Any, value: Array, bound: Any, variance: Any) -> Any:
        """Return the value of a function that the accumulator's format has to so many units in the last place."""
        ulps = 2 * self.model.exp_ulp * self.model.acc.roundoff
        variance = variance + (ulps * value) ** 2 / 12
        return self.rounded(value, bound + ulps * (np.abs(value) + bound), variance, self.model.step)

    def exp(self: Any) -> Any:
        r"""Return the exponential: $|e^{z + d} - e^z| \le e^z (e^{|d|} - 1)$. One below the normal numbers may be 0.

        In base 2 the argument is multiplied by a rounded constant: d is up to two roundings of z more.
        """
        value = np.exp(self.value)
        off = self.bound + 2 * self.model.acc.roundoff * (np.abs(self.value) + self.bound)
        result = self._elementary(value, value * np.expm1(off), self.variance * value**2)
        result.bound = result.bound + np.where(value - result.bound < self.model.acc.smallest, value, 0.0)
        return result
