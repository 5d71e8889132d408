"""Does it behave as a function should? What goes in stays as it is, and every call answers for its own inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.checks.accuracy import judge_tensor
from attention_harness.checks.declaration import check
from attention_harness.checks.form import numbers
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case

_GROWN = {"B": 1, "Lq": 2, "Lk": 3, "L": 2, "P": 3}


@check("purity", large=True)
def purity(subject: Subject) -> Judgement:
    """A call changes no input and no global state, and returns memory of its own."""
    call = subject.first
    reasons = [f"the call changed its input {name}" for name in call.changed_inputs]
    reasons += [f"the call changed {what}" for what in call.changed_state]
    shared = call.shared_memory.items()
    reasons += [f"{what} lies in the memory of {name}; expected memory of its own" for what, name in shared]
    return Judgement.refuse(reasons[0]) if reasons else Judgement(0.0)


def is_ordinary(implementation: Declaration, case: Case) -> bool:
    """Return whether repeated calls are tried on the case: plain content and memory, no length below 2."""
    lengths = [case.sizes[axis] for axis in _GROWN if axis in case.sizes]
    return case.content == "ordinary" and case.layout == "contiguous" and min(lengths) > 1


@check("second_call", is_ordinary)
def second_call(subject: Subject) -> Judgement:
    """Called again with other numbers, with another shape and with the first inputs, it answers for each."""
    case, error_bound = subject.case, subject.error_bound()[0]
    first = numbers(subject.first.output, case, error_bound.value.shape, "output")
    judgements = [Judgement(0.0)]
    for other in _others(subject):
        judged = judge_tensor(subject.call(other).output, other, subject.error_bound(other)[0], "output")
        if judged.reason:
            return replace(judged, reason=f"called again with {other.id}: {judged.reason}")
        judgements.append(judged)
    now = subject.prepared.reread(subject.first).output
    if not np.array_equal(first, numbers(now, case, first.shape, "the first output, later"), equal_nan=True):
        return Judgement.refuse("a later call changed what an earlier call returned")
    again = judge_tensor(subject.call(case).output, case, error_bound, "output")
    if again.reason:
        return replace(again, reason=f"called again with the first inputs: {again.reason}")
    return worst([*judgements, again])


def _others(subject: Subject) -> list[Case]:
    """Return the case with other numbers, and grown if that is taken; only those within the range of the dtype."""
    case = subject.case
    other_numbers = replace(case, draw=case.draw + 1)
    grown = {axis: length + _GROWN.get(axis, 0) for axis, length in case.sizes.items()}
    other_shape = replace(case, sizes=grown, draw=case.draw + 2)
    others = [other_numbers] if subject.implementation.refuses(other_shape) else [other_numbers, other_shape]
    return [other for other in others if not subject.error_bound(other)[0].overflow]
