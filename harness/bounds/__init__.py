r"""How far a correct implementation may be from the exact result, computed element by element.

The formula of a mechanism runs on `Tracked` arrays: each carries, beside its float64 value, a bound of the rounding
error that an implementation of the declared `Arithmetic` may have made so far, and the variance of that error. So every
mechanism gets its error bound from its own formula. The softmax and its sum with the values have a closed form instead
(`softmax`), for the bound of their steps would be far too loose.

Notation: $u = 2^{-p}$ the unit roundoff, $\gamma_n = n u / (1 - n u)$ the bound of n roundings (Higham 2002, section
3.1). Bounds are rigorous as far as the declaration lists every rounding; variances are of first order and take rounding
errors as independent (Higham and Mary 2019), so they serve the statistical tests of `judge` alone.
"""

from attention_harness.bounds.blocks import PAIRS, blocked, pairs, rows_of, splits
from attention_harness.bounds.error_bound import ErrorBound, error_bounds
from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.rounding import Model, gamma

__all__ = [
    "PAIRS",
    "ErrorBound",
    "Model",
    "Tracked",
    "blocked",
    "error_bounds",
    "gamma",
    "pairs",
    "rows_of",
    "splits",
]
