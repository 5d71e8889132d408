"""Means under the weights of rows, exact where their terms cancel."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.rounding import Array


def log_mean(weights: Array, change: Array) -> Array:
    """Return log(sum_j p_j e^(c_j)) along the last axis, exact for small c; 0 where all weights are 0."""
    less = (weights * np.expm1(change)).sum(-1, keepdims=True)
    whole = (weights * np.exp(change)).sum(-1, keepdims=True)
    return np.where(less > -0.5, np.log1p(np.maximum(less, -0.5)), np.log(np.maximum(whole, 1e-300)))


def weighted_spread(w: Array, v: Array, centre: Array) -> Array:
    """Return sum_j w_j (v_j - centre)^2 by matrix products, with a guard for what cancels in the expanded square."""
    total = w.sum(-1, keepdims=True)
    plain = w @ v**2
    square = plain - 2 * centre * (w @ v) + centre**2 * total
    guard = 8 * w.shape[-1] * 2.0**-53 * (plain + centre**2 * total)
    return np.maximum(square, 0.0) + guard
