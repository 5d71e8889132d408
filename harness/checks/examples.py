"""Does it give the numbers that the notes print?"""

from __future__ import annotations

import numpy as np
from attention_harness.bounds import Budget
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.checks.accuracy import to_array
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import Implementation, mechanisms


def is_example(implementation: Implementation, case: Case) -> bool:
    """Whether the case is a worked example of the notes."""
    if not case.content.startswith("example."):
        return False
    example = mechanisms()[case.mechanism].example(case.content.removeprefix("example."))
    told = example.output is not None or "output" in example.shapes
    return told or implementation.capabilities.weights  # otherwise nothing that it returns stands in the notes


def worked_example(subject: Subject) -> Judgement:
    """The note's own numbers and shapes come out, to the digits that it prints."""
    case = subject.case
    example = mechanisms()[case.mechanism].example(case.content.removeprefix("example."))
    budgets = dict(zip(("output", "weights"), subject.budget(), strict=True))
    worst = Judgement(0.0)
    for name, tensor in (("output", subject.first.output), ("weights", subject.first.weights)):
        if tensor is None and name == "weights":
            continue
        shape, numbers = example.shapes.get(name), getattr(example, name)
        if shape is not None and tuple(tensor.shape) != shape:
            return Judgement.refuse(f"{name} has shape {tuple(tensor.shape)}; {example.source} says {shape}")
        budget = budgets[name]
        if numbers is not None and budget is not None:
            judged = judge(to_array(tensor), _printed(np.asarray(numbers, np.float64), example.digits, budget))
            worst = max(worst, judged, key=lambda judgement: judgement.share)
    return worst


def _printed(numbers: np.ndarray, digits: int, budget: Budget) -> Budget:
    """Return the budget around the note's numbers: half a unit of the last printed digit wider."""
    value = np.broadcast_to(numbers, budget.value.shape)
    return Budget(value, budget.bound + 0.5 * 10.0**-digits, budget.deviation, None, budget.empty)
