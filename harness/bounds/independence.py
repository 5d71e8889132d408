r"""How many independent errors the elements of a row of a weighted sum are worth.

The mean square of d errors of one deviation has the variance $2 \operatorname{tr}(C^2)/d^2$, where C are the errors'
correlations: 2/d if they are independent, 2 if the elements err together. A row is worth $d^2/\operatorname{tr}(C^2)$.

An error of a score moves all elements of its row, along $v_k - o$. Over few keys these errors have few directions, and
where they dominate the roundings of the sum, a row says no more than those directions do.
"""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.rounding import Array


def independent_errors(shift: Array, common: Array, values: Array, out: Array, variance: Array) -> Array:
    r"""Return a number for each row, (..., Lq), from 1 to d.

    With $b_k$ the part of all variances that is due to key k, and $\beta$ the part due to the normaliser,
    $\operatorname{tr}(C^2) / d^2 \approx 1/d + \beta^2 + \frac{(\sum_k b_k)^2}{r}$, with
    $r = \max(1, (\sum_k b_k)^2 / \sum_k b_k^2 - 1)$ directions: one less than keys, for $\sum_k p_k (v_k - o) = 0$.

    shift: variances of the log-weights times squared weights, (..., Lq, Lk). common: variance of the normaliser,
    relative, (..., Lq, 1). values: (..., Lk, d). out, variance: (..., Lq, d)
    """
    width = out.shape[-1]
    precision = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)
    centre = values.mean(-2, keepdims=True) if values.shape[-2] else 0.0  # less cancels in the expanded square
    v, o = values - centre, out - centre
    distances = precision @ (v**2).swapaxes(-1, -2) - 2 * (o * precision) @ v.swapaxes(-1, -2)
    distances = np.maximum(distances + (o**2 * precision).sum(-1, keepdims=True), 0.0)
    of_keys = np.nan_to_num(shift * distances) / max(width, 1)
    total, squares = of_keys.sum(-1), (of_keys**2).sum(-1)
    keys = np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)
    scores = np.minimum(total, 1.0) ** 2 / np.maximum(keys - 1.0, 1.0)
    of_normaliser = np.nan_to_num((common * out**2 * precision).mean(-1)) if width else np.zeros(out.shape[:-1])
    return np.asarray(1.0 / np.minimum(1.0 / max(width, 1) + scores + np.minimum(of_normaliser, 1.0) ** 2, 1.0))
