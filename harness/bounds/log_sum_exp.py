r"""The error bound of the log-sum-exp of a row of scores, $\operatorname{lse} = m + \log \sum_j e^{s_j - m}$.

Scores that err by $\delta_j$, $|\delta_j| \le d_j$, and exponentials whose errors stand in $d_j$ too, change it by
$\log \sum_j p_j e^{\delta_j}$, which lies between $\log \sum_j p_j e^{-d_j}$ and $\log \sum_j p_j e^{d_j}$: here no
common factor cancels. A sum with the relative error g changes it by $-\log(1 - g)$ at most. Then come the logarithm's
own error and the rounding of its sum with the maximum, each in a base of the implementation's choice: in base 2 the
maximum and the logarithm are multiplied by a rounded constant, and the sum by another one.
"""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.error_bound import ErrorBound
from attention_harness.bounds.means import log_mean
from attention_harness.bounds.rounding import Array
from attention_harness.bounds.softmax import LARGEST_SHIFT, Weights
from attention_harness.model.dtypes import DTYPES

_ROUNDINGS = 6
"""Of numbers as large as the maximum, the logarithm and their sum: two constants, two products, the sum, a log."""


def log_sum_exp_bound(weights: Weights, dtype: str) -> ErrorBound:
    """Return the error bound of each row's log-sum-exp, (..., Lq), before it is stored.

    The bound stands for the deviation, which is not computed. In the reference's own dtype that errs as much.
    """
    whole, model = weights.whole, weights.model
    unit, shift = model.acc.roundoff, np.minimum(whole.alone, LARGEST_SHIFT)
    p = np.where(whole.visible, np.nan_to_num(whole.value), 0.0)
    up, down = log_mean(p, shift), -log_mean(p, -shift)
    error: Array = np.maximum(up, down)
    g = np.asarray(whole.g)
    error = error - np.log1p(-np.minimum(g, 0.5))
    largest = np.abs(whole.peak) + shift.max(-1, keepdims=True, initial=0.0)  # the largest score that was computed
    size = largest + np.log(np.maximum(whole.total, 1.0)) + np.abs(np.nan_to_num(whole.log_sum_exp))
    error = error + (_ROUNDINGS + 2 * model.exp_ulp) * unit * size + unit
    if model.split_keys:  # each part's own, and their sum by them
        error = error + 2 * unit * (size + 1)
    unknown = (whole.alone > LARGEST_SHIFT).any(-1, keepdims=True) | (g >= 0.5)
    error = error * (2.0 if DTYPES[dtype].as_reference else 1.0)
    bound = np.where(whole.empty[..., None], 0.0, np.where(unknown, np.inf, error))[..., 0]
    overflow = "a step of the formula exceeds the largest number" if weights.overflows else ""
    return ErrorBound(whole.log_sum_exp[..., 0], bound, bound, None, whole.empty, overflow)
