"""Does it behave as a function should? What goes in stays as it is, and every call answers for its own inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import judge_tensor, returns_weights
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import Bounds, bounds_of
from attention_harness.checks.form import numbers
from attention_harness.checks.interface import Declaration
from attention_harness.checks.log_sum_exp import judge_answer, returns_it
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case

if TYPE_CHECKING:
    from torch import Tensor

_GROWN = {"B": 1, "Lq": 2, "Lk": 3, "L": 2, "P": 3}
_SHORT = 33


@check("purity", large=True, codes=True)
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


@check("second_call", is_ordinary, codes=True)
def second_call(subject: Subject) -> Judgement:
    """Called again with one thing changed, and with the first inputs at last, it answers for each.

    Changed are: the numbers, in other memory and in the same; all lengths, up; one length, up and down; the numbers of
    options alone; the memory layout alone.
    """
    case, bounds = subject.case, subject.error_bound()
    first = numbers(subject.first.output, case, bounds[0].value.shape, "output")
    judgements = []
    for what, other, tensors, right in _calls(subject):
        judged = _judged(subject, other, tensors, right)
        if judged.reason:
            return replace(judged, reason=f"called again with {what}: {judged.reason}")
        judgements.append(judged)
    now = subject.prepared.reread(subject.first).output
    if not np.array_equal(first, numbers(now, case, first.shape, "the first output, later"), equal_nan=True):
        return Judgement.refuse("a later call changed what an earlier call returned")
    again = _judged(subject, case, inputs.tensors(case), bounds)
    if again.reason:
        return replace(again, reason=f"called again with the first inputs: {again.reason}")
    return worst([*judgements, again])


def _judged(subject: Subject, other: Case, tensors: dict[str, Tensor], right: Bounds) -> Judgement:
    """Return the judgement of a further call: of its output, and of weights and log-sum-exp where it returns them."""
    implementation, (output, weights) = subject.implementation, right
    returned = subject.prepared.call(tensors)
    judged = judge_tensor(returned.output, other, output, "output")
    if not judged.reason and weights is not None and returns_weights(implementation, other):
        of_weights = judge_tensor(returned.weights, other, weights, "weights")
        judged = of_weights if of_weights.reason else judged
    if judged.reason or not returns_it(implementation, other):
        return judged
    again = judge_answer(returned.lse, other, inputs.exact(tensors), implementation.capabilities)
    return again if again.reason else judged


Call = tuple[str, Case, dict[str, "Tensor"], Bounds]
"""What differs, in words; the case; the tensors, and the error bounds around what is right for them."""


def _calls(subject: Subject) -> Iterator[Call]:
    """Yield the calls that follow the first one, those with other numbers last; only those within the dtype's range."""
    case = subject.case
    numbers_differ = replace(case, draw=case.draw + 1)
    if not needs_few_calls(subject):
        transposed = inputs.tensors(replace(case, layout="transposed"))
        yield "another memory layout", case, transposed, subject.error_bound()
        yield from _options_alone(subject, numbers_differ)
        yield from _same_memory(subject, numbers_differ)
    for other in (numbers_differ, *_other_lengths(subject)):
        right = subject.error_bound(other)
        if not right[0].overflow:
            yield other.id, other, inputs.tensors(other), right


def _options_alone(subject: Subject, other: Case) -> Iterator[Call]:
    """Yield a call with the first numbers, except for the options' tensors."""
    case, capabilities = subject.case, subject.implementation.capabilities
    brought = inputs.option_tensors(case)
    if brought:
        tensors = inputs.tensors(case) | {name: x for name, x in inputs.tensors(other).items() if name in brought}
        arrays = inputs.exact(tensors)
        right = bounds_of(case, arrays, capabilities.arithmetic, capabilities.policy)
        if not right[0].overflow:
            yield f"another {' and '.join(brought)} alone", case, tensors, right


def needs_few_calls(subject: Subject) -> bool:
    """Return whether calls differ by numbers and all lengths alone, for time: long ones, and those that build anew."""
    sizes = subject.case.sizes
    return subject.implementation.capabilities.builds or max(sizes[axis] for axis in _GROWN if axis in sizes) > _SHORT


def _other_lengths(subject: Subject) -> list[Case]:
    """Return the case with every length grown, and with one that is chosen by the fingerprint down, and another up."""
    case = subject.case
    axes = [axis for axis in _GROWN if axis in case.sizes]
    turn = case.fingerprint % len(axes)
    changes = [{axis: _GROWN[axis] for axis in axes}]
    if not needs_few_calls(subject):
        changes += [{axes[turn]: -1}, {axes[turn - 1]: 1}]
    found = []
    for draw, change in enumerate(changes, 2):
        sizes = {axis: length + change.get(axis, 0) for axis, length in case.sizes.items()}
        other = replace(case, sizes=sizes, draw=case.draw + draw)
        if not subject.implementation.refuses(other):
            found.append(other)
    return found


def _same_memory(subject: Subject, other: Case) -> Iterator[Call]:
    """Yield a call in other memory with the first numbers, and one with other numbers written into that memory."""
    case, tensors = subject.case, inputs.tensors(subject.case)
    yield "the first numbers in other memory", case, tensors, subject.error_bound()
    right = subject.error_bound(other)
    if not right[0].overflow:
        for name, tensor in inputs.tensors(other).items():
            tensors[name].copy_(tensor)
        yield "other numbers in the same memory", other, tensors, right
