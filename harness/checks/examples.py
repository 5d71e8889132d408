"""Does it give the numbers that the notes print?"""

from __future__ import annotations

import numpy as np

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.checks.declaration import check
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.reference.specification import Example
from attention_harness.registry import mechanisms

_PREFIX = "example."


def _example(case: Case) -> Example:
    return mechanisms()[case.mechanism].example(case.content.removeprefix(_PREFIX))


def is_example(implementation: Declaration, case: Case) -> bool:
    """Return whether the case is a worked example of the notes that prints something the implementation returns."""
    if not case.content.startswith(_PREFIX):
        return False
    example = _example(case)
    prints_output = example.output is not None or "output" in example.shapes
    return prints_output or implementation.capabilities.weights


@check("example", is_example)
def worked_example(subject: Subject) -> Judgement:
    """The note's own numbers and shapes come out, to the digits that it prints."""
    example = _example(subject.case)
    error_bounds = dict(zip(("output", "weights"), subject.error_bound(), strict=True))
    worst = Judgement(0.0)
    for name, tensor in (("output", subject.first.output), ("weights", subject.first.weights)):
        if tensor is None and name == "weights":
            continue
        shape, printed = example.shapes.get(name), getattr(example, name)
        if shape is not None and tuple(tensor.shape) != shape:
            return Judgement.refuse(f"{name} has shape {tuple(tensor.shape)}; {example.source} says {shape}")
        error_bound = error_bounds[name]
        if printed is not None and error_bound is not None:
            judged = judge(to_array(tensor), _printed(np.asarray(printed, np.float64), example.digits, error_bound))
            worst = max(worst, judged, key=lambda judgement: judgement.error_ratio)
    return worst


def _printed(numbers: np.ndarray, digits: int, error_bound: ErrorBound) -> ErrorBound:
    """Return the error bound around the note's numbers: half a unit of the last printed digit wider."""
    value = np.broadcast_to(numbers, error_bound.value.shape)
    return ErrorBound(value, error_bound.bound + 0.5 * 10.0**-digits, error_bound.deviation, None, error_bound.empty)
