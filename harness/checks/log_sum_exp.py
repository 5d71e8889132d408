"""The log-sum-exp that a call returns beside its output: against its error bound, and which one it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.error_bound import weights_of
from attention_harness.bounds.judge import Judgement, ratio
from attention_harness.bounds.log_sum_exp import log_sum_exp_bound
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import Arrays, OutOfRange, arguments, arrays_of, fully_masked_rows
from attention_harness.checks.form import WrongForm, to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES, DType
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms


def returns_it(implementation: Declaration, case: Case) -> bool:
    """Return whether a call on the case returns a further result."""
    return any(OPTIONS[name].returned for name in case.options if name in OPTIONS)


@check("log_sum_exp", returns_it, codes=True)
def log_sum_exp(subject: Subject) -> Judgement:
    """The returned log-sum-exp is the natural logarithm of the softmax's denominator, within its error bound.

    A row that sees no key has minus infinity, unless another policy is declared for such rows: then it is not asked.
    """
    return judge_answer(subject.first.lse, subject.case, arrays_of(subject.case), subject.implementation.capabilities)


def judge_answer(answer: Any, case: Case, arrays: Arrays, declared: Capabilities) -> Judgement:
    """Return the judgement of a log-sum-exp that was returned for these numbers in the case's place."""
    bound, got = _bound_and_numbers(answer, case, arrays, declared.arithmetic)
    if bound.overflow:
        raise OutOfRange(f"{case.id}: {bound.overflow}")
    rows = ~fully_masked_rows(case, arrays, policy=declared.policy, words=("nan", "mean"))
    with np.errstate(invalid="ignore"):  # of two infinities
        error = np.abs(np.where(got == bound.value, 0.0, got - bound.value))
    error = np.where(np.isnan(error), np.inf, error)
    known = rows & ~np.isposinf(bound.bound)  # scores that err so much may sum to anything
    error_ratio = np.where(known, ratio(error, np.where(known, bound.bound, 1.0)), 0.0)
    if not error_ratio.size:
        return Judgement(0.0)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    largest = float(error_ratio[at])
    reason = f"log-sum-exp is {got[at]:.9g}, expected {bound.value[at]:.9g}; its error bound is {bound.bound[at]:.3g}"
    return Judgement(largest, float(error[at]), at, reason if largest > 1 else "")


def _bound_and_numbers(
    answer: Any, case: Case, arrays: Arrays, arithmetic: Arithmetic
) -> tuple[ErrorBound, NDArray[np.float64]]:
    """Return the error bound, with the rounding of the dtype in which it came, and the numbers that came."""
    bound = bound_of(case, arrays, arithmetic)
    stored = stored_as(answer, case, bound.value.shape, arithmetic)
    with np.errstate(invalid="ignore"):
        size = np.abs(bound.value) + bound.bound
        rounding = np.where(np.isfinite(bound.value), stored.roundoff * size + stored.half_spacing, 0.0)
    return ErrorBound(
        bound.value, bound.bound + rounding, bound.bound + rounding, None, bound.empty, bound.overflow
    ), to_array(answer)


def bound_of(case: Case, arrays: Arrays, arithmetic: Arithmetic) -> ErrorBound:
    """Return the error bound of the log-sum-exp of these numbers in the case's place, before it is stored."""
    tensors, options = arguments(case, arrays)
    evaluate = mechanisms()[case.mechanism].evaluate
    return log_sum_exp_bound(weights_of(evaluate, tensors, options, case.dtype, arithmetic), case.dtype)


def stored_as(answer: Any, case: Case, shape: tuple[int, ...], arithmetic: Arithmetic) -> DType:
    """Return the dtype of a log-sum-exp: the case's, or that of its sums; raise WrongForm for another form."""
    import torch

    if type(answer) is not torch.Tensor:
        came = "none" if answer is None else f"a {type(answer).__name__}"
        raise WrongForm(f"declares a log-sum-exp, but returned {came}: expected (output, weights or None, lse)")
    if tuple(answer.shape) != shape:
        raise WrongForm(f"lse has shape {tuple(answer.shape)}, expected {shape}")
    allowed = tuple(dict.fromkeys((case.dtype, arithmetic.accumulator or case.format.accumulator)))
    found = str(answer.dtype).removeprefix("torch.")
    if found not in allowed:
        raise WrongForm(f"lse has dtype {found}, expected {' or '.join(allowed)}")
    if answer.device.type != case.device:
        raise WrongForm(f"lse is on {answer.device}, expected {case.device}")
    return DTYPES[found]
