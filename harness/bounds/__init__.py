r"""How far a correct implementation may be from the exact result, computed element by element.

The reference formula itself is run on `Tracked` arrays: each carries, beside its float64 value, a bound of the rounding
error that an implementation of the declared `Arithmetic` may have made so far, and the variance of that error. So every
mechanism gets its error bound from its own formula. Where a step-by-step bound would be far too loose - the softmax,
whose
common factor cancels, and its sum with the values - the closed form replaces the steps:

$$\delta o = \frac{\sum_j p_j (e^{\delta_j} - 1)(v_j - o)}{\sum_j p_j e^{\delta_j}}$$

which is exact, since $\sum_j p_j (v_j - o) = 0$: a constant value has no error from the scores at all.

Notation: $u = 2^{-p}$ the unit roundoff, $\gamma_n = n u / (1 - n u)$ the bound of n roundings (Higham 2002, section
3.1). Bounds are rigorous as far as the declaration lists every rounding; variances are first order and take rounding
errors as independent (Higham and Mary 2019), so they serve the statistical tests of `bounds.judge` alone.
"""

from attention_harness.bounds.blocks import PAIRS, blocked, pairs, rows_of, splits
from attention_harness.bounds.formats import Model, gamma
from attention_harness.bounds.output import ErrorBound, error_bounds
from attention_harness.bounds.tracked import Tracked

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
