"""Is the answer right? Form first, then the numbers against their error bound."""

from __future__ import annotations

from typing import Any

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.checks.declaration import check
from attention_harness.checks.form import numbers
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

_ORDINARY = ("ordinary", "large", "shifted")


@check("accuracy", large=True)
def accuracy(subject: Subject) -> Judgement:
    """The output has the right shape, dtype and device, and every element is within its error bound."""
    return judge_tensor(subject.first.output, subject.case, subject.error_bound()[0], "output")


def returns_weights(implementation: Declaration, case: Case) -> bool:
    """Return whether the implementation declares weights and the mechanism has them."""
    return implementation.capabilities.weights and bool(mechanisms()[case.mechanism].scores)


@check("weights", returns_weights)
def weights(subject: Subject) -> Judgement:
    """The returned weights are the softmax of the scores, element by element within their error bound."""
    error_bound = subject.error_bound()[1]
    if error_bound is None:
        raise ValueError(f"{subject.case.mechanism} has no weights")
    if subject.first.weights is None:
        return Judgement.refuse("declares weights, but returned none: expected the pair (output, weights)")
    return judge_tensor(subject.first.weights, subject.case, error_bound, "weights")


def is_degenerate(case: Case) -> bool:
    """Return whether the inputs have few degrees of freedom, so that errors repeat instead of averaging out."""
    return case.content not in _ORDINARY


def judge_tensor(tensor: Any, case: Case, error_bound: ErrorBound, what: str) -> Judgement:
    """Return the judgement of a tensor that was returned for a case; raise WrongForm where it has no numbers."""
    array = numbers(tensor, case, error_bound.value.shape, what)
    if error_bound.overflow:
        raise ValueError(f"the case lies outside the range of its dtype: {error_bound.overflow}")
    return judge(array, error_bound, degenerate=is_degenerate(case))
