"""Compares two answers that the mathematics makes equal, element by element, with what their rounding may differ by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.model.case import Case

Array = NDArray[np.float64]


def agree(
    one: Array, other: Array, allowed: Array, where: NDArray[np.bool_] | bool = True, what: str = "two equal answers"
) -> Judgement:
    """Return the judgement that two arrays differ by no more than allowed, element by element, `where` it matters.

    Both NaN agree: a declared policy of rows that see no key may be NaN.
    """
    where = np.broadcast_to(where, one.shape)
    if not where.any():
        return Judgement(0.0)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(same, 0.0, np.abs(one - other))
    error = np.where(where, np.where(np.isnan(error), np.inf, error), 0.0)
    allowed = np.broadcast_to(allowed, one.shape)
    with np.errstate(over="ignore"):
        error_ratio = np.divide(error, allowed, out=np.where(error > 0, np.inf, 0.0), where=allowed > 0)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    largest = float(error_ratio[at])
    if largest <= 1:
        return Judgement(largest, float(error[at]), at)
    reason = f"{what} differ by {error[at]:.3g}, their error bounds allow {allowed[at]:.3g}: "
    reason += f"{one[at]:.9g} and {other[at]:.9g}"
    return Judgement(largest, float(error[at]), at, reason)


def within(low: Array, high: Array, output: Array, allowed: Array, where: NDArray[np.bool_], what: str) -> Judgement:
    """Return the judgement that an array lies between two others, widened by what is allowed."""
    nearest = np.clip(output, low, high)
    return agree(output, np.where(np.isnan(output), low, nearest), allowed, where, what)


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """Return the worst of some judgements."""
    return max(judgements, key=lambda judgement: judgement.error_ratio)


def on_grid(case: Case, array: Array, largest: float) -> Array:
    """Return the array rounded so coarsely that sums up to `largest` in magnitude are exact in the case's dtype."""
    if largest <= 0 or not np.isfinite(largest):
        return array
    grid = 2.0 ** (np.ceil(np.log2(largest)) + 1) * case.format.roundoff
    return np.rint(array / grid) * grid
