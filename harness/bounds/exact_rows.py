"""Rows of a softmax that have no rounding in any order of computing, so that their bound is 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.dtypes import Code


def exact_rows(weights: Any) -> NDArray[np.bool_]:
    r"""Return the rows of scores 0 over 2^k visible keys, (..., Lq, 1): $e^0 = 1$, and sums of ones are exact.

    Scores that are equal and not 0 are no proof: s c - max c with one rounding in place of two is not 0. Nor does
    $e^{lse_i - lse}$, by which parts of the keys are merged, have the value that it should.
    """
    model, keys = weights.model, weights.visible.sum(-1, keepdims=True)
    known = (weights.scores.value == 0) & (np.broadcast_to(weights.scores.bound, weights.shape) == 0)
    least = max(2.0**-model.acc.precision, weights.least)
    found = (
        (keys > 0) & (keys & (keys - 1) == 0) & (keys * least <= 1) & (known | ~weights.visible).all(-1, keepdims=True)
    )
    return np.asarray(found & (not model.split_keys and not isinstance(model.probabilities, Code)))


def sums_exactly(weights: Any, values: Any) -> NDArray[np.bool_]:
    """Return the rows whose weighted sum is exact in every order, as sums of small whole numbers are."""
    whole = isinstance(values.bound, float) and not values.bound and weights.exact.any()
    if not whole or not values.value.size or not (values.value == np.rint(values.value)).all():
        return np.zeros_like(weights.exact)
    most = weights.visible.sum(-1, keepdims=True) * np.abs(values.value).max()
    return np.asarray(weights.exact & (most * weights.model.acc.roundoff <= 1))
