"""How far the responses of an implementation and of a mutant are apart.

Their numbers may differ by what two roundings of one exact value may: the mutant's output takes the reference's place,
and the bound of the case is doubled. That bound holds where the mutant leaves an element as it was. Elsewhere the
largest bound of the case does, grown with the mutant's numbers where those are larger than the reference's. Beside the
numbers, the same checks must fail for the same kind of reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.checks import Check
from attention_harness.checks.accuracy import is_degenerate
from attention_harness.checks.expected import bound_of
from attention_harness.model.case import Case
from attention_harness.mutation.diagnosis.response import Response

NOTHING_COMPARED = -1.0


def difference(one: Response, other: Response, checks: Sequence[Check]) -> float:
    """Return the distance of two responses over what is allowed: above 1 they differ; -1 when no number was compared.

    one: its declaration says what a fully masked row is and which roundings are allowed.
    """
    if one.parts is None or other.parts is None:
        return NOTHING_COMPARED if one.parts is other.parts else math.inf
    worst = _numbers(one, other, weights=not checks or "weights" in {check.name for check in checks})
    for check in checks:
        if worst > 1:
            return math.inf
        worst = max(worst, _judgements(one.judge(check), other.judge(check), check))
    return math.inf if worst > 1 else worst


def _numbers(one: Response, other: Response, *, weights: bool) -> float:
    """Return the distance of the outputs and, if they are checked and declared, of the weights."""
    assert one.parts is not None
    assert other.parts is not None
    capabilities, worst = one.implementation.capabilities, NOTHING_COMPARED
    bounds = bound_of(one.case, capabilities.arithmetic, capabilities.fully_masked_rows)
    zero_bounds = bound_of(one.case, capabilities.arithmetic, "zero")
    for place, compared in enumerate((True, weights and capabilities.weights)):
        bound, zero = bounds[place], zero_bounds[place]
        if bound is None or zero is None or not compared:
            continue
        (form, numbers), (other_form, other_numbers) = one.parts[place], other.parts[place]
        if form != other_form:
            return math.inf
        if numbers is not None and other_numbers is not None:
            worst = max(worst, distance(numbers, other_numbers, bound, zero, one.case))
    return worst


def distance(
    numbers: NDArray[np.float64], hypothesis: NDArray[np.float64], bound: ErrorBound, zero: ErrorBound, case: Case
) -> float:
    """Return how far numbers are from a hypothesis', over what two roundings of it may differ.

    bound, zero: of the case, with fully masked rows as declared and as zero; where they differ nothing is compared.
    """
    numbers, hypothesis = numbers.copy(), hypothesis.copy()
    ignored = (numbers == hypothesis) & np.isinf(hypothesis)
    if numbers.shape == zero.value.shape:
        ignored |= ~((bound.value == zero.value) | (np.isnan(bound.value) & np.isnan(zero.value)))
    numbers[ignored] = hypothesis[ignored] = 0.0
    largest = 2 * _largest(zero.bound) * max(1.0, _largest(hypothesis) / (_largest(zero.value) or 1.0))
    allowed = np.full(hypothesis.shape, largest)
    around = ErrorBound(hypothesis, allowed, allowed, None, None)
    if numbers.shape == zero.value.shape:
        unchanged = np.abs(hypothesis - zero.value) <= zero.bound
        around = replace(
            zero,
            value=hypothesis,
            bound=np.where(unchanged, 2 * zero.bound, allowed),
            deviation=math.sqrt(2) * zero.deviation,
            linear=None if zero.linear is None else zero.linear & unchanged.all(-1),
        )
    return judge(numbers, around, degenerate=is_degenerate(case)).error_ratio


def _largest(array: NDArray[np.float64]) -> float:
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def _judgements(one: tuple[str, Judgement | None], other: tuple[str, Judgement | None], check: Check) -> float:
    """Return the distance of two judgements of a check: they agree when failure and error do, to two error bounds."""
    (failure, judged), (other_failure, other_judged) = one, other
    if check.name in ("accuracy", "weights"):  # their numbers were compared: which limit they break first is chance
        return NOTHING_COMPARED if bool(failure) == bool(other_failure) else math.inf
    if failure != other_failure:
        return math.inf
    if not failure or judged is None or other_judged is None:
        return NOTHING_COMPARED
    if not (0 < judged.error_ratio < math.inf and math.isfinite(judged.error) and math.isfinite(other_judged.error)):
        return NOTHING_COMPARED if judged.error == other_judged.error else math.inf
    bound = judged.error / judged.error_ratio
    return abs(judged.error - other_judged.error) / (2 * bound) if bound else NOTHING_COMPARED
