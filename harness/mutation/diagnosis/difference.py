"""How far the responses of an implementation and of a mutant are apart, and whether one explains the other.

Their numbers may differ by what two roundings of one exact value may: the mutant's output takes the reference's place,
and the bound of the case is doubled. That bound holds where the mutant leaves an element as it was. Elsewhere the
largest bound of the case does, grown with the mutant's numbers where those are larger than the reference's.

An implementation may have a second, smaller deviation beside the mutant's. So its numbers may also be nearer to the
mutant's than to the right ones by a factor of ten, and it may fail checks that the mutant passes; never the reverse.
"""

from __future__ import annotations

import enum
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
_NUMBERS = ("accuracy", "weights")

_LEFT = 0.1
"""Part of an effect that a smaller deviation may be, which the mutant does not explain."""


class Comparison(enum.Enum):
    """What a failing case says of a mutant."""

    EXPLAINS = "it is wrong in the same way"
    SILENT = "it is right there: the failure has another cause"
    DIFFERS = "it is wrong in another way"


def compare(
    response: Response, mutant: Response, right: Response, failing: Sequence[Check], passing: Sequence[Check]
) -> tuple[Comparison, float]:
    """Return what a case says of a mutant on which an implementation fails, and the distance of their numbers.

    right: the response of the right implementation. failing, passing: the checks, as the implementation answers them
    """
    apart = _apart(response, mutant, (*failing, *passing))
    if apart > 1 and _left(response, mutant, right) > _LEFT:
        return Comparison.SILENT if _apart(right, mutant, passing) <= 1 else Comparison.DIFFERS, math.inf
    explained, other_way = False, False
    for check in failing:
        distance = _judgements(response.judge(check), mutant.judge(check), check, _roughness(response))
        if distance <= 1 and not right.failure(check):
            apart, explained = max(apart, distance), True
        other_way |= distance > 1 and bool(mutant.failure(check))
    if not explained:
        return Comparison.DIFFERS if other_way else Comparison.SILENT, math.inf
    if any(mutant.failure(check) for check in passing if check.name not in _NUMBERS):
        return Comparison.DIFFERS, math.inf
    return Comparison.EXPLAINS, apart


def _apart(one: Response, other: Response, checks: Sequence[Check]) -> float:
    """Return the distance of the numbers of two responses; infinite where one alone has any."""
    if one.parts is None or other.parts is None:
        return NOTHING_COMPARED if one.parts is other.parts else math.inf
    return _numbers(one, other, weights=not checks or "weights" in {check.name for check in checks})


def _left(response: Response, mutant: Response, right: Response) -> float:
    """Return which part of an implementation's deviation from the right output a mutant leaves unexplained."""
    outputs = [None if one.parts is None else one.parts[0] for one in (response, mutant, right)]
    if any(one is None or one[1] is None for one in outputs) or len({one[0] for one in outputs if one}) > 1:
        return math.inf
    numbers, hypothesis, expected = (one[1] for one in outputs if one and one[1] is not None)
    if not (np.isfinite(numbers).all() and np.isfinite(hypothesis).all() and np.isfinite(expected).all()):
        return math.inf
    effect = float(np.linalg.norm(numbers - expected))
    return float(np.linalg.norm(numbers - hypothesis)) / effect if effect else math.inf


def difference(one: Response, other: Response, checks: Sequence[Check]) -> float:
    """Return the distance of two responses over what is allowed: above 1 they differ; -1 when no number was compared.

    one: its declaration says what a fully masked row is and which roundings are allowed.
    """
    worst = _apart(one, other, checks)
    for check in checks:
        if worst > 1:
            return math.inf
        worst = max(worst, _judgements(one.judge(check), other.judge(check), check, _roughness(one)))
    return math.inf if worst > 1 else worst


def _roughness(response: Response) -> float:
    """Return the largest error bound of a case's output over its largest number."""
    bound = bound_of(response.case, response.implementation.capabilities.arithmetic, "zero")[0]
    assert bound is not None
    return _largest(bound.bound) / (_largest(bound.value) or 1.0)


def _numbers(one: Response, other: Response, *, weights: bool) -> float:
    """Return the distance of the outputs and, if they are checked and declared, of the weights."""
    assert one.parts is not None
    assert other.parts is not None
    capabilities, worst = one.implementation.capabilities, NOTHING_COMPARED
    bounds = bound_of(one.case, capabilities.arithmetic, capabilities.policy)
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


def _judgements(
    one: tuple[str, Judgement | None], other: tuple[str, Judgement | None], check: Check, roughness: float
) -> float:
    """Return the distance of two judgements of a check: they agree when failure and error do, to two error bounds.

    roughness: the relative error that two errors may have where they are larger than their bounds
    """
    (failure, judged), (other_failure, other_judged) = one, other
    if check.name in _NUMBERS:  # their numbers were compared: which limit they break first is chance
        return NOTHING_COMPARED if bool(failure) == bool(other_failure) else math.inf
    if failure != other_failure:
        return math.inf
    if not failure or judged is None or other_judged is None or judged.error == other_judged.error:
        return NOTHING_COMPARED
    if not (math.isfinite(judged.error) and math.isfinite(other_judged.error)):
        return math.inf
    bound = judged.error / judged.error_ratio if judged.error_ratio else 0.0
    allowed = 2 * max(bound, roughness * max(judged.error, other_judged.error))
    return abs(judged.error - other_judged.error) / allowed if allowed else math.inf
