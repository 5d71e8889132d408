"""Is the answer right? Form first, then the numbers against their error bound, and against what the notes print."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge, worst
from attention_harness.checks.declaration import check
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.reference.specification import Example
from attention_harness.registry import mechanisms

_ORDINARY = ("ordinary", "large", "shifted")


@check("accuracy", large=True, codes=True)
def accuracy(subject: Subject) -> Judgement:
    """The output has the right shape, dtype and device, and every element is within its error bound."""
    return judge_tensor(subject.first.output, subject.case, subject.error_bound()[0], "output")


def returns_weights(implementation: Declaration, case: Case) -> bool:
    """Return whether the implementation declares weights and the mechanism has them."""
    return implementation.capabilities.weights and bool(mechanisms()[case.mechanism].scores)


@check("weights", returns_weights, codes=True)
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


EXAMPLE = "example."


def _example(case: Case) -> Example:
    return mechanisms()[case.mechanism].example(case.content.removeprefix(EXAMPLE))


def is_example(implementation: Declaration, case: Case) -> bool:
    """Return whether the case is a worked example of the notes that prints something the implementation returns."""
    if not case.content.startswith(EXAMPLE):
        return False
    example = _example(case)
    prints_output = example.output is not None or "output" in example.shapes
    return prints_output or implementation.capabilities.weights


@check("example", is_example)
def worked_example(subject: Subject) -> Judgement:
    """The note's own numbers and shapes come out, to the digits that it prints."""
    example = _example(subject.case)
    error_bounds = dict(zip(("output", "weights"), subject.error_bound(), strict=True))
    judgements = [Judgement(0.0)]
    for name, tensor in (("output", subject.first.output), ("weights", subject.first.weights)):
        if tensor is None and name == "weights":
            continue
        shape, printed = example.shapes.get(name), getattr(example, name)
        if shape is not None and tuple(tensor.shape) != shape:
            return Judgement.refuse(f"{name} has shape {tuple(tensor.shape)}; {example.source} says {shape}")
        error_bound = error_bounds[name]
        if printed is not None and error_bound is not None:
            judged = judge(to_array(tensor), _printed(np.asarray(printed, np.float64), example.digits, error_bound))
            judgements.append(judged)
    return worst(judgements)


def _printed(numbers: np.ndarray, digits: int, error_bound: ErrorBound) -> ErrorBound:
    """Return the error bound around the note's numbers: half a unit of the last printed digit wider."""
    value = np.broadcast_to(numbers, error_bound.value.shape)
    return ErrorBound(value, error_bound.bound + 0.5 * 10.0**-digits, error_bound.deviation, None, error_bound.empty)
