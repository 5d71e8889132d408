r"""How many independent errors the elements of a row of a weighted sum are worth.

The mean square of d errors of one deviation has the variance $2 \operatorname{tr}(C^2)/d^2$, where C are the errors'
correlations: 2/d if they are independent, 2 if the elements err together. A row is worth $d^2/\operatorname{tr}(C^2)$.

An error of a score moves all elements of its row, along $v_k - o$, and the rounding of a stored weight moves them along
$v_k$. Over few keys these errors have few directions, and so they have where the values themselves have few. Where they
dominate the roundings of the sum, a row says no more than those directions do.
"""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.rounding import Array


def independent_errors(
    shift: Array, storing: Array, common: Array, values: Array, out: Array, variance: Array
) -> Array:
    r"""Return a number for each row, (..., Lq), from 1 to d.

    With $b_k$ the part of all variances that comes by key k, $\beta$ the part that comes by the normaliser, and $\rho$
    the number of directions of the values, $\operatorname{tr}(G)^2 / \operatorname{tr}(G^2)$ of their products G,

    $$\operatorname{tr}(C^2) / d^2 \approx \frac{1}{d} + \beta^2
    + \Big(\sum_k b_k\Big)^2 \Big(\frac{1}{r} + \frac{1}{\rho}\Big)$$

    by scores and by stored weights each, where $r = (\sum_k b_k)^2 / \sum_k b_k^2$ is the number of keys that count;
    of scores one less, for $\sum_k p_k (v_k - o) = 0$.

    shift, storing: variances of the weights by the scores' errors and by being stored, (..., Lq, Lk). common: variance
    of the normaliser, relative, (..., Lq, 1). values: (..., Lk, d). out, variance: (..., Lq, d)
    """
    width = max(out.shape[-1], 1)
    precision = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)
    centre = values.mean(-2, keepdims=True) if values.shape[-2] else 0.0  # less cancels in the expanded square
    v, o = values - centre, out - centre
    squares = precision @ (v**2).swapaxes(-1, -2)
    distances = squares - 2 * (o * precision) @ v.swapaxes(-1, -2) + (o**2 * precision).sum(-1, keepdims=True)
    by_scores = _together(shift * np.maximum(distances, 0.0) / width, _directions(v), 1.0)
    by_storing = _together(storing * (precision @ (values**2).swapaxes(-1, -2)) / width, _directions(values), 0.0)
    by_normaliser = np.minimum(np.nan_to_num((common * out**2 * precision).sum(-1) / width), 1.0) ** 2
    return np.asarray(1.0 / np.minimum(1.0 / width + by_scores + by_storing + by_normaliser, 1.0))


def _together(of_keys: Array, directions: Array, fewer: float) -> Array:
    """Return what errors that come by keys add to the mean square of the correlations, (..., Lq)."""
    of_keys = np.nan_to_num(of_keys)
    total, squares = of_keys.sum(-1), (of_keys**2).sum(-1)
    keys = np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)
    return np.asarray(np.minimum(total, 1.0) ** 2 * (1 / np.maximum(keys - fewer, 1.0) + 1 / directions[..., None]))


def _directions(values: Array) -> Array:
    """Return how many directions values (..., Lk, d) have, 1 at least."""
    scale = np.max(np.abs(values), (-2, -1), keepdims=True, initial=0.0)
    unit = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
    products = unit.swapaxes(-1, -2) @ unit
    trace, squares = np.trace(products, axis1=-2, axis2=-1), (products**2).sum((-2, -1))
    return np.maximum(np.divide(trace**2, squares, out=np.ones_like(trace), where=squares > 0), 1.0)
