"""Compare an output with its error bound, element by element and by the statistics of many small errors.

Five tests, in this order. The first is rigorous; the others are statistics of independent roundings:

1. element    |error| <= bound, for every element
2. deviation  |error| <= 10 standard deviations, for every element
3. row        root mean square of error/deviation along a row <= 5; 8 for inputs with few degrees of freedom
4. whole      root mean square over unlike rows <= 1.25 + 4/sqrt(N), where these rows are worth N independent errors, at
              most as many as numbers that are codes; 4 for inputs with few degrees of freedom
5. bias       |mean of signed error/deviation| <= 0.2 + 4/sqrt(R) over R unlike rows, not asked of inputs with few
              degrees of freedom. The sign is the error's, or positive away from zero. Roundings to nearest cancel over
              rows; truncation errs to one side, by amounts that tests 1 to 4 allow. TOSA's conformance suite does this

Rows with the same weights err alike: with c rows of each kind, R = (sum of c)^2 / sum of c^2. Where that is less than
8, the inputs have few degrees of freedom.

Tests 2 to 5 apply to a weighted sum with nothing after it, in rows whose scores' errors are of first order. Their
limits are no tolerances: they are significance levels in units of a computed deviation, fixed before any implementation
was measured. That of the bias was set after correct variants were. What has passed it since, under narrow declarations,
were rows that err alike: they count as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.error_bound import ErrorBound

DEVIATIONS = 10.0
ROW, ROW_DEGENERATE, ROW_WIDTH = 5.0, 8.0, 16
WHOLE, WHOLE_SLACK, WHOLE_DEGENERATE = 1.25, 4.0, 4.0
BIAS, BIAS_SLACK, UNLIKE_ROWS = 0.2, 4.0, 8


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of a comparison or of a measurement.

    error_ratio  error over error bound where that is largest; at most 1 passes
    error        the error there
    where        the index of that element, or None
    reason       why it does not pass, or ""
    finding      of a behaviour: what was measured
    declared     of a behaviour: what the implementation claims
    uninformative  of a pass: zeros, or the mean of the right numbers everywhere, would have passed too
    """

    error_ratio: float
    error: float = 0.0
    where: tuple[int, ...] | None = None
    reason: str = ""
    finding: str = ""
    declared: str = ""
    uninformative: bool = False

    @classmethod
    def refuse(cls, reason: str, where: tuple[int, ...] | None = None) -> Judgement:
        """Return a failed judgement of what has no error to measure: a wrong shape, a value that is not finite."""
        return cls(np.inf, np.inf, where, reason)


def worst(judgements: Iterable[Judgement]) -> Judgement:
    """Return the judgement with the largest error ratio; it says something where any of them does."""
    found = list(judgements)
    largest = max(found, key=lambda judgement: judgement.error_ratio)
    return replace(largest, uninformative=all(one.uninformative for one in found))


def judge(output: NDArray[np.float64], error_bound: ErrorBound, *, degenerate: bool = False) -> Judgement:
    """Return the judgement of an output against its error bound.

    degenerate: the inputs have few degrees of freedom (all keys alike, one key outstanding), so that errors repeat
    instead of averaging out.
    """
    expected = error_bound.value
    if output.shape != expected.shape:
        return Judgement.refuse(f"shape {output.shape}, expected {expected.shape}")
    if output.size == 0:
        return Judgement(0.0)
    nan_expected = np.isnan(expected)
    wrong = np.isnan(output) != nan_expected
    wrong |= ~np.isfinite(output) & ~nan_expected
    if wrong.any():
        where = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
        return Judgement.refuse(f"{output[where]} where {expected[where]:.6g} is right", where)
    judged = _judged(output, error_bound, degenerate)
    return judged if judged.reason else replace(judged, uninformative=is_uninformative(error_bound, degenerate))


def is_uninformative(error_bound: ErrorBound, degenerate: bool = False) -> bool:
    """Return whether an answer without content would pass: zeros, or the mean of all right numbers or of a channel.

    Where the right answer is itself such a one, to half of the digits of float64, that answer shows nothing.
    """
    expected = error_bound.value
    bound = np.broadcast_to(error_bound.bound, expected.shape)
    open_to_error = np.isfinite(expected) & (bound > 0)
    if not open_to_error.any():
        return False
    size = np.abs(expected[open_to_error]).max()
    channels = tuple(range(expected.ndim - 1)) if expected.ndim else None
    for averaged, axes in ((False, None), (True, None), (True, channels)):
        count = np.maximum(open_to_error.sum(axes, keepdims=True), 1)
        total = np.sum(expected, axes, keepdims=True, where=open_to_error) if averaged else 0.0
        mean = total / count
        empty = np.where(open_to_error, mean, expected)
        off = np.abs(np.where(open_to_error, empty - expected, 0.0))
        if off.max() <= 2.0**-26 * size or (off > bound).any():
            continue
        if not _judged(empty, error_bound, degenerate).reason:
            return True
    return False


def _judged(output: NDArray[np.float64], error_bound: ErrorBound, degenerate: bool) -> Judgement:
    """Return the judgement of an output that is a number wherever one is expected."""
    expected = error_bound.value
    nan_expected = np.isnan(expected)
    error = np.where(nan_expected, 0.0, output) - np.where(nan_expected, 0.0, expected)
    judged = _element(np.abs(error), error_bound.bound, output, expected)
    if judged.reason and _rounded_where_exact(judged, error_bound):
        return replace(judged, reason=f"{judged.reason}; {_EXACT}")
    if judged.reason or error_bound.linear is None:
        return judged
    return _statistics(error, error_bound, degenerate, judged)


_EXACT = (
    "one softmax over all keys has no rounding here, in any order; "
    "where keys are merged in parts, by their log-sum-exp, declare Arithmetic(split_keys=True)"
)
_OF_ROUNDINGS = 2.0**-10
"""Of the largest answer: what is beyond is no rounding in any format."""


def _rounded_where_exact(judged: Judgement, error_bound: ErrorBound) -> bool:
    """Return whether an answer that has to be exact differs by no more than roundings, in a row that sees a key."""
    where = judged.where
    if where is None or error_bound.linear is None or error_bound.bound[where] != 0:
        return False
    empty = error_bound.empty is not None and bool(error_bound.empty[where[:-1]])
    return not empty and judged.error <= _OF_ROUNDINGS * float(np.nanmax(np.abs(error_bound.value)))


def _element(
    error: NDArray[np.float64], bound: NDArray[np.float64], output: NDArray[np.float64], expected: NDArray[np.float64]
) -> Judgement:
    ratios = ratio(error, bound)
    where = tuple(int(i) for i in np.unravel_index(np.argmax(ratios), ratios.shape))
    error_ratio, worst = float(ratios[where]), float(error[where])
    reason = ""
    if error_ratio > 1:
        reason = (
            f"|error| {worst:.3g} exceeds its error bound {float(bound[where]):.3g}: "
            f"got {output[where]:.9g}, expected {expected[where]:.9g}"
        )
    return Judgement(error_ratio, worst, where, reason)


def _statistics(error: NDArray[np.float64], error_bound: ErrorBound, degenerate: bool, judged: Judgement) -> Judgement:
    rows = np.asarray(error_bound.linear) & np.isfinite(error_bound.value).all(-1)
    if error_bound.empty is not None:
        rows &= ~error_bound.empty  # their error is 0 by policy, not by arithmetic
    z = ratio(np.abs(error), error_bound.deviation)[rows]  # (rows, width)
    if z.size == 0:
        return judged
    limits = limits_of(error_bound, rows, degenerate)
    tests = [("one element's error", float(z.max()), DEVIATIONS)]
    if z.shape[-1] >= ROW_WIDTH:
        tests.append(("a row's root mean square error", float(np.sqrt((z**2).mean(-1)).max()), limits.row))
    tests.append(("the root mean square error", float(np.sqrt((z**2).mean())), limits.whole))
    up = z * np.sign(error[rows])
    tests.append(("the mean error up or down", abs(float(up.mean())), limits.bias))
    outward = up * np.sign(error_bound.value[rows])
    tests.append(("the mean error towards or away from zero", abs(float(outward.mean())), limits.bias))
    error_ratio, reason = judged.error_ratio, ""
    for what, measured, limit in tests:
        error_ratio = max(error_ratio, measured / limit)
        if measured > limit and not reason:
            reason = f"{what} is {measured:.3g} deviations of correct arithmetic, limit {limit:.3g}"
    return Judgement(error_ratio, judged.error, judged.where, reason)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deviations the root mean square of a row and of the whole may be, and the mean of the signed errors."""

    row: float
    whole: float
    bias: float


def limits_of(error_bound: ErrorBound, rows: NDArray[np.bool_], degenerate: bool) -> Limits:
    """Return the limits for these rows, some at least, of a weighted sum."""
    assert error_bound.weighing is not None
    assert error_bound.independent is not None
    counts = np.unique(error_bound.weighing[rows], return_counts=True)[1].astype(np.float64)
    unlike = counts.sum() ** 2 / (counts**2).sum()
    if degenerate or unlike < UNLIKE_ROWS:
        return Limits(ROW_DEGENERATE, WHOLE_DEGENERATE, math.inf)
    errors = min(unlike / float((1.0 / error_bound.independent[rows]).mean()), max(error_bound.shared, 1.0))
    bias = BIAS + BIAS_SLACK / math.sqrt(unlike) if math.isinf(error_bound.shared) else math.inf
    return Limits(ROW, WHOLE + WHOLE_SLACK / math.sqrt(errors), bias)


def ratio(error: NDArray[np.float64], allowed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return error / allowed; nothing allowed and no error is 0, nothing allowed and an error is infinite."""
    allowed = np.broadcast_to(allowed, error.shape)
    none = np.where(error > 0, np.inf, 0.0)
    with np.errstate(over="ignore"):
        return np.divide(error, allowed, out=none, where=allowed > 0)
