r"""The difference of two softmax maps, $P_1 - \lambda P_2$, and its sum with the values.

There are two ways to it, and a right implementation may take either: $P_1 V - \lambda (P_2 V)$, or $(P_1 - \lambda
P_2) V$. The bound of the first is the closed form of each sum. The second stores weights up to twice more before they
meet the values, so that its sum is

$$\sum_j \big(P_{1j} (1 + \epsilon_j) - \lambda P_{2j} (1 + \epsilon'_j)\big) (1 + \epsilon''_j) V_j$$

with roundings of the product and of the difference in the $\epsilon$ that the first way lacks. The weights of
`for_difference` have room for these; so the bound of the first way, made of such weights, is one of both. A third way,
$P_1 V - P_2 (\lambda V)$, rounds $\lambda V$: it is within the bound only where `stored_probabilities` is declared.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from attention_harness.bounds.rounding import compound

_STORED = 3
"""How often a weight is stored before the sum: by itself, times the factor, and in the difference."""


class Difference:
    """Of the weights of a softmax."""

    model: Any
    theta: Any
    exact: Any
    storings: int
    amplified: Any

    def for_difference(self, factor: Any = None) -> Any:
        r"""Return these weights as they are where they are stored three times before they meet the values.

        factor: by which the gradient of these weights may be multiplied after it was stored
        No row is exact: $1/n - \lambda/n$ is rounded.
        """
        made: Any = copy.copy(self)
        for made_of_theta in ("factor", "bound", "variance"):
            made.__dict__.pop(made_of_theta, None)
        further = [self.model.probabilities.roundoff] * (_STORED - 1)
        made.theta = compound(self.theta, *further)
        made.exact = np.zeros_like(self.exact)
        made.storings = _STORED
        made.amplified = 0.0 if factor is None else np.max(np.abs(factor.value) + factor.bound)
        return made

    def difference_sum(self: Any, factor: Any, other: Any, values: Any) -> Any:
        """Return the values' sum by these weights minus that by others, times a factor."""
        return self.for_difference() @ values - (other.for_difference(factor) @ values) * factor

    def difference(self: Any, factor: Any, other: Any) -> Any:
        """Return these weights minus a factor times others: one rounding for the product, one for the difference."""
        size, error, spread = (np.abs(x) for x in (factor.value, factor.bound, factor.variance))
        fmt, weights = self.model.probabilities, other.value
        bound = size * other.bound + error * (np.abs(weights) + other.bound)
        variance = size**2 * other.variance + weights**2 * spread
        product = self.scores.rounded(factor.value * weights, bound, variance, fmt)
        bound, variance = self.bound + product.bound, self.variance + product.variance
        result = self.scores.rounded(self.value - product.value, bound, variance, fmt)
        result.overflows |= other.overflows or factor.overflows
        result.empty = self.empty
        return result
