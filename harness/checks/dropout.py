r"""Is dropout what it says? In training each weight survives with probability k, divided by k; else nothing changes.

With $m$ independent, 1 with probability k and 0 otherwise, an output of training is

$$y' = y + \sum_t c_t \left(\frac{m_t}{k} - 1\right)$$

where $c_t$ is what one weight contributes to it. The contributions come from the reference with that weight taken
out, so that the law of every output is known, whatever the mechanism does after the sum: mean y, variance
$\sum_t c_t^2 (1 - k) / k$. Sums over many calls are held to Bernstein's inequality, which is rigorous: a correct
implementation is accused with a probability below `FALSE_ALARM` for each number looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.bounds.perturbed import evaluate
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import judge_call, to_array, wrong_form
from attention_harness.checks.subject import Subject, fully_masked_rows
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.reference import core
from attention_harness.registry import Implementation, mechanisms

Array = NDArray[np.float64]

CALLS = 128
FALSE_ALARM = 1e-12


def has_dropout(implementation: Implementation, case: Case) -> bool:
    """Whether the case names a rate of dropout."""
    return "dropout" in case.options


def dropout(subject: Subject) -> Judgement:
    """In training, over many calls: unbiased, the right rate, independent between rows; outside of it, no effect."""
    import torch

    case, error_bound = subject.case, subject.error_bound()[0]
    if error_bound.value.size == 0 or case.sizes[mechanisms()[case.mechanism].scores[-1]] == 0:  # nothing to drop
        return judge_call(subject.first, error_bound)
    keep = 1 - case.options["dropout"]
    parts = contributions(case)
    answers = []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if case.device == "cuda" else ()):
        torch.manual_seed(case.seed)
        for _ in range(CALLS):
            output = subject.call(case, training=True).output
            form = wrong_form(output, case, error_bound.value.shape, "output in training")
            if form:
                return Judgement.refuse(form)
            answers.append(to_array(output))
    off = judge_call(subject.call(case), error_bound)
    if off.reason:
        return Judgement(off.error_ratio, off.error, off.where, f"after calls in training, outside of it: {off.reason}")
    errors = np.stack(answers) - error_bound.value
    if subject.implementation.capabilities.fully_masked_rows != "zero":  # its policy for these rows was judged above
        empty = fully_masked_rows(case)
        errors[:, empty] = parts[:, empty] = 0.0
    if not np.isfinite(errors).all():
        return Judgement.refuse("an output in training is not finite")
    return statistics(errors, parts, keep, error_bound.bound / keep)


def contributions(case: Case) -> Array:
    """Return (T, *output): what each weight adds to the outputs of its row, one head and key after the other."""
    mechanism = mechanisms()[case.mechanism]
    given = inputs.exact(inputs.tensors(case.on("cpu")))
    options = inputs.arguments(case)

    def evaluated(left_out: tuple[Any, ...] | None) -> Array:
        def change(scores: Array, visible: NDArray[np.bool_], policy: str) -> Array:
            weights = core.softmax(scores, visible, policy)
            if left_out is not None:
                weights[left_out] = 0.0
            return weights

        with time_account.spent(time_account.REFERENCE):
            return evaluate(mechanism.evaluate, given, options, change)

    whole = evaluated(None)
    *_, heads, _, keys = (1, *inputs.shape_of(mechanism.scores, case.sizes)[-3:])
    by_head = "H" in mechanism.scores
    places = [
        (slice(None), head, slice(None), key) if by_head else (Ellipsis, key)
        for head in range(heads if by_head else 1)
        for key in range(keys)
    ]
    return np.stack([whole - evaluated(place) for place in places])


def statistics(errors: Array, parts: Array, keep: float, rounding: Array) -> Judgement:
    """Return the judgement of errors (calls, *output) whose contributions (T, *output) are known."""
    calls = len(errors)
    largest = max(1.0, (1 - keep) / keep)  # of |m / k - 1|
    variance = (parts**2).sum(0) * (1 - keep) / keep
    excess = np.abs(errors.sum(0)) - calls * rounding
    error_ratio = _share(excess, calls * variance, np.abs(parts).max(0) * largest, errors[0].size)
    where = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    worst = Judgement(float(error_ratio[where]), float(np.abs(errors.mean(0))[where]), where)
    if worst.error_ratio > 1:
        reason = f"dropout is biased: the mean of {calls} calls differs by {worst.error:.3g}"
        return Judgement(worst.error_ratio, worst.error, where, reason)

    # One number for each row: its error in a fixed direction, in units of its deviation.
    direction = np.sign(parts.sum(0)) / np.maximum(np.sqrt((parts**2).sum(0)), 1e-300)
    direction = np.where(variance > 0, direction, 0.0)
    along = (parts * direction).sum(-1)
    deviation = np.sqrt((along**2).sum(0) * (1 - keep) / keep)
    seen = deviation > 0
    z = np.where(seen, (errors * direction).sum(-1) / np.where(seen, deviation, 1.0), 0.0)
    if seen.any():  # all rows and calls together: what is lost or gained everywhere
        lost = calls * ((rounding * np.abs(direction)).sum(-1)[seen] / deviation[seen]).sum()
        most = (np.abs(along).max(0)[seen] / deviation[seen]).max() * largest
        total = float(_share(np.asarray(abs(z.sum()) - lost), np.asarray(calls * seen.sum()), np.asarray(most), 1))
        ratio = 1 + (errors * direction).sum() / (calls * along.sum())
        worst = Judgement(total, worst.error, where) if total > worst.error_ratio else worst
        if total > 1:
            reason = f"dropout is biased: what the weights give is {ratio:.3g} times as large in training"
            return Judgement(total, worst.error, where, reason)
    # z^2 - 1 has the variance 2 + (fourth cumulant) and stays below its largest value.
    fourth = keep * (1 - keep) * (1 - 6 * keep * (1 - keep)) / keep**4
    kurtosis = np.divide((along**4).sum(0) * fourth, deviation**4, out=np.zeros_like(deviation), where=seen)
    top = np.divide((np.abs(along).sum(0) * largest) ** 2, deviation**2, out=np.ones_like(deviation), where=seen)
    axes = {"each alone": None} | {f"axis {axis}": axis + 1 for axis in range(z.ndim - 1) if z.shape[axis + 1] > 1}
    for what, axis in axes.items():
        total, measured = _squares(z, seen, kurtosis, top, calls, axis)
        if total > worst.error_ratio:
            worst = Judgement(total, worst.error, where)
        if total > 1:
            said = (
                f"dropout has the wrong rate: the variance is {measured:.3g} times that of the declared one"
                if axis is None
                else f"dropout is not independent along {what}: sums over it vary {measured:.3g} times as they should"
            )
            return Judgement(total, worst.error, where, said)
    return worst


def _squares(z: Array, seen: Any, kurtosis: Array, top: Array, calls: int, axis: int | None) -> tuple[float, float]:
    """Return the share of what sums of z^2 may be off, and their measured ratio; over an axis, of its sums."""
    if axis is None:
        n, total, spread, most = float(seen.sum()), (z**2).sum(), (2 + kurtosis)[seen].sum(), top.max()
    else:
        count = np.asarray(seen.sum(axis - 1))
        many = count > 1
        sums = z.sum(axis)[:, many] ** 2 / count[many]
        # Var (s^2) = 2 + sum of the fourth cumulants / count^2 for s of unit variance.
        spread = (2 + np.where(seen, kurtosis, 0.0).sum(axis - 1)[many] / count[many] ** 2).sum()
        n, total = float(many.sum()), sums.sum()
        most = float((np.where(seen, np.sqrt(top), 0.0).sum(axis - 1)[many] ** 2 / count[many]).max(initial=1.0))
    if n == 0:
        return 0.0, 1.0
    error_ratio = _share(np.asarray(abs(total - calls * n)), np.asarray(calls * spread), np.asarray(most), 1)
    return float(error_ratio), float(total / (calls * n))


def _share(excess: Array, variance: Array, largest: Array, numbers: int) -> Array:
    """Return excess as a share of what Bernstein's inequality allows a sum with that variance and largest term."""
    log = np.log(2 * max(numbers, 1) / FALSE_ALARM)
    allowed = largest * log / 3 + np.sqrt((largest * log / 3) ** 2 + 2 * variance * log)
    return np.where(excess > 0, np.divide(excess, allowed, out=np.full_like(excess, np.inf), where=allowed > 0), 0.0)
