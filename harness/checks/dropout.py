r"""Is dropout what it says? In training each weight survives with probability k, divided by k; else nothing changes.

With $m$ independent, 1 with probability k and 0 otherwise, an output of training is

$$y' = y + \sum_t c_t \left(\frac{m_t}{k} - 1\right)$$

where $c_t$ is what one weight contributes to it. The contributions come from the reference with that weight taken
out, so that the law of every output is known, whatever the mechanism does after the sum: mean y, variance
$\sum_t c_t^2 (1 - k) / k$. Sums over many calls are held to Bernstein's inequality, which is rigorous: a correct
implementation is accused with a probability below `FALSE_ALARM` for each number looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.bounds.perturbed import evaluate
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import judge_tensor
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import OTHER_WORDS, arguments, arrays_of, fully_masked_rows
from attention_harness.checks.form import numbers
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.reference import core
from attention_harness.reference.arrays import Words
from attention_harness.registry import mechanisms

Array = NDArray[np.float64]

CALLS = 128
FALSE_ALARM = 1e-12


@check("dropout", lambda _, case: "dropout" in case.options)
def dropout(subject: Subject) -> Judgement:
    """In training, over many calls: unbiased, the right rate, independent between rows; outside of it, no effect."""
    case, error_bound = subject.case, subject.error_bound()[0]
    if error_bound.value.size == 0 or case.sizes[mechanisms()[case.mechanism].scores[-1]] == 0:  # nothing to drop
        return judge_tensor(subject.first.output, case, error_bound, "output")
    keep = 1 - case.options["dropout"]
    parts = contributions(case)
    seeds = np.random.default_rng(case.fingerprint).integers(2**31, size=CALLS)
    outputs = (subject.call(case, training=True, seed=int(seed)).output for seed in seeds)
    answers = [numbers(output, case, error_bound.value.shape, "output in training") for output in outputs]
    off = judge_tensor(subject.call(case).output, case, error_bound, "output")
    if off.reason:
        return Judgement(off.error_ratio, off.error, off.where, f"after calls in training, outside of it: {off.reason}")
    errors = np.stack(answers) - error_bound.value
    policy = subject.implementation.capabilities.policy  # for these rows it was judged above
    masked = fully_masked_rows(case, policy=policy, words=OTHER_WORDS)
    errors[:, masked] = parts[:, masked] = 0.0
    if not np.isfinite(errors).all():
        return Judgement.refuse("an output in training is not finite")
    return statistics(errors, parts, keep, error_bound.bound / keep)


def contributions(case: Case) -> Array:
    """Return (T, *output): what each weight adds to the outputs of its row, one head and key after the other."""
    mechanism = mechanisms()[case.mechanism]
    tensors, options = arguments(case, arrays_of(case))

    def without(place: tuple[Any, ...] | None, scores: Array, visible: NDArray[np.bool_], words: Words) -> Array:
        weights = core.softmax(scores, visible, words)
        if place is not None:
            weights[place] = 0.0
        return weights

    def evaluated(place: tuple[Any, ...] | None) -> Array:
        with time_account.spent(time_account.REFERENCE):
            return evaluate(mechanism.evaluate, tensors, options, functools.partial(without, place))

    whole = evaluated(None)
    *_, heads, _, keys = (1, *inputs.shape_of(mechanism.scores, case.sizes)[-3:])
    by_head = "H" in mechanism.scores
    places = [
        (slice(None), head, slice(None), key) if by_head else (Ellipsis, key)
        for head in range(heads if by_head else 1)
        for key in range(keys)
    ]
    return np.stack([whole - evaluated(place) for place in places])


# --- the statistics


def statistics(errors: Array, parts: Array, keep: float, rounding: Array) -> Judgement:
    """Return the judgement of errors (calls, *output) whose contributions (T, *output) are known."""
    odds = (1 - keep) / keep  # the variance of m / k
    worst = _bias_of_elements(errors, parts, odds, rounding)
    if worst.error_ratio > 1:
        return replace(worst, reason=f"dropout is biased: the mean of {len(errors)} calls differs by {worst.error:.3g}")
    for error_ratio, reason in _row_statistics(errors, parts, keep, rounding):
        worst = replace(worst, error_ratio=max(worst.error_ratio, error_ratio))
        if error_ratio > 1:
            return replace(worst, reason=reason)
    return worst


def _largest(odds: float) -> float:
    """Return the largest value of |m / k - 1|."""
    return max(1.0, odds)


def _bias_of_elements(errors: Array, parts: Array, odds: float, rounding: Array) -> Judgement:
    """Return the judgement of each element's sum over the calls, without a reason."""
    excess = np.abs(errors.sum(0)) - len(errors) * rounding
    variance = len(errors) * (parts**2).sum(0) * odds
    error_ratio = _over_bernstein(excess, variance, np.abs(parts).max(0) * _largest(odds), errors[0].size)
    where = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    return Judgement(float(error_ratio[where]), float(np.abs(errors.mean(0))[where]), where)


def _row_statistics(errors: Array, parts: Array, keep: float, rounding: Array) -> Iterator[tuple[float, str]]:
    """Yield (error ratio, reason above 1) of statistics of one number for each row and call.

    The number is the row's error in a fixed direction, in units of its deviation: z, of mean 0 and variance 1.
    """
    calls, odds = len(errors), (1 - keep) / keep
    direction = np.sign(parts.sum(0)) / np.maximum(np.sqrt((parts**2).sum(0)), 1e-300)
    direction = np.where((parts**2).sum(0) * odds > 0, direction, 0.0)
    along = (parts * direction).sum(-1)
    deviation = np.sqrt((along**2).sum(0) * odds)
    seen = deviation > 0
    z = np.where(seen, (errors * direction).sum(-1) / np.where(seen, deviation, 1.0), 0.0)
    if seen.any():  # all rows and calls together: what is lost or gained everywhere
        lost = calls * ((rounding * np.abs(direction)).sum(-1)[seen] / deviation[seen]).sum()
        most = (np.abs(along).max(0)[seen] / deviation[seen]).max() * _largest(odds)
        tail = _over_bernstein(np.asarray(abs(z.sum()) - lost), np.asarray(calls * seen.sum()), np.asarray(most), 1)
        ratio = 1 + (errors * direction).sum() / (calls * along.sum())
        yield float(tail), f"dropout is biased: what the weights give is {ratio:.3g} times as large in training"
    # z^2 - 1 has the variance 2 + (fourth cumulant) and stays below its largest value.
    fourth = keep * (1 - keep) * (1 - 6 * keep * (1 - keep)) / keep**4
    kurtosis = np.divide((along**4).sum(0) * fourth, deviation**4, out=np.zeros_like(deviation), where=seen)
    bound = (np.abs(along).sum(0) * _largest(odds)) ** 2
    top = np.divide(bound, deviation**2, out=np.ones_like(deviation), where=seen)
    moved = np.divide((rounding * np.abs(direction)).sum(-1), deviation, out=np.zeros_like(deviation), where=seen)
    total, measured = _squares(z, seen, kurtosis, top, moved, None)
    yield total, f"dropout has the wrong rate: the variance is {measured:.3g} times that of the declared one"
    for axis in (axis for axis in range(1, z.ndim) if z.shape[axis] > 1):
        total, measured = _squares(z, seen, kurtosis, top, moved, axis)
        reason = (
            f"dropout is not independent along axis {axis - 1}: sums over it vary {measured:.3g} times as they should"
        )
        yield total, reason


def _squares(z: Array, seen: Any, kurtosis: Array, top: Array, moved: Array, axis: int | None) -> tuple[float, float]:
    """Return the error ratio of the sum of z^2, and that sum over the expected one; over an axis, of its sums.

    moved: by how much rounding may have moved each row's z, and so the squares: $(z + e)^2 - z^2 = 2 z e + e^2$
    """
    calls = len(z)
    if axis is None:
        n, total, spread, most = float(seen.sum()), (z**2).sum(), (2 + kurtosis)[seen].sum(), top.max()
        slack = (2 * np.abs(z) * moved + moved**2).sum()
    else:
        count = np.asarray(seen.sum(axis - 1))
        many = count > 1
        sums, off = z.sum(axis)[:, many] ** 2 / count[many], moved.sum(axis - 1)[many] / np.sqrt(count[many])
        slack = (2 * np.sqrt(sums) * off + off**2).sum()
        # Var (s^2) = 2 + sum of the fourth cumulants / count^2 for s of unit variance.
        spread = (2 + np.where(seen, kurtosis, 0.0).sum(axis - 1)[many] / count[many] ** 2).sum()
        n, total = float(many.sum()), sums.sum()
        most = float((np.where(seen, np.sqrt(top), 0.0).sum(axis - 1)[many] ** 2 / count[many]).max(initial=1.0))
    if n == 0:
        return 0.0, 1.0
    excess = np.nan_to_num(abs(total - calls * n) - slack)  # of an error bound without limit nothing is left to judge
    error_ratio = _over_bernstein(np.asarray(excess), np.asarray(calls * spread), np.asarray(most), 1)
    return float(error_ratio), float(total / (calls * n))


def _over_bernstein(excess: Array, variance: Array, largest: Array, count: int) -> Array:
    """Return excess over what Bernstein's inequality allows a sum with that variance and largest term.

    count   of the numbers looked at, among which the false alarms are shared
    """
    log = np.log(2 * max(count, 1) / FALSE_ALARM)
    allowed = largest * log / 3 + np.sqrt((largest * log / 3) ** 2 + 2 * variance * log)
    return np.where(excess > 0, np.divide(excess, allowed, out=np.full_like(excess, np.inf), where=allowed > 0), 0.0)
