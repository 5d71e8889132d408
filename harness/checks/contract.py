"""Does it behave as a function should? What goes in stays as it is, and every call answers for its own inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import judge_call
from attention_harness.checks.subject import Call, Subject
from attention_harness.model.case import Case
from attention_harness.registry import Implementation

_GROWN = {"B": 1, "Lq": 2, "Lk": 3, "L": 2, "P": 3}


def purity(subject: Subject) -> Judgement:
    """A call changes no input and no global state, and returns memory of its own."""
    call = subject.first
    changed = _changed_input(call)
    if changed:
        return Judgement.refuse(changed)
    for what, before in call.state_before.items():
        if call.state_after[what] != before:
            return Judgement.refuse(f"the call changed {what}")
    for name, tensor in (("output", call.output), ("weights", call.weights)):
        for other, given in call.tensors.items():
            if tensor is not None and _share_memory(tensor, given):
                return Judgement.refuse(f"{name} lies in the memory of {other}; expected memory of its own")
    return Judgement(0.0)


def is_ordinary(implementation: Implementation, case: Case) -> bool:
    """Whether repeated calls are tried on the case: plain content and memory, no length below 2."""
    lengths = [case.sizes[axis] for axis in _GROWN if axis in case.sizes]
    return case.content == "ordinary" and case.layout == "contiguous" and min(lengths) > 1


def second_call(subject: Subject) -> Judgement:
    """Called again with other numbers, with another shape and with the first inputs, it answers for each."""
    case = subject.case
    first = subject.first.output.clone()  # before a later call can write into what the first one returned
    other_numbers = replace(case, seed=case.seed + 1)
    grown = {axis: length + _GROWN.get(axis, 0) for axis, length in case.sizes.items()}
    other_shape = replace(case, sizes=grown, seed=case.seed + 2)
    asked = [other_numbers]
    if not subject.implementation.refuses(other_shape):
        asked.append(other_shape)
    asked = [
        other for other in asked if not subject.error_bound(other)[0].overflow
    ]  # other numbers may leave the range
    worst = Judgement(0.0)
    for other in asked:
        judged = judge_call(subject.call(other), subject.error_bound(other)[0])
        if judged.reason:
            return replace(judged, reason=f"called again with {other.id}: {judged.reason}")
        worst = max(worst, judged, key=lambda judgement: judgement.error_ratio)
    if not _same(first, subject.first.output):
        return Judgement.refuse("a later call changed what an earlier call returned")
    again = judge_call(subject.call(case), subject.error_bound()[0])
    if again.reason:
        return replace(again, reason=f"called again with the first inputs: {again.reason}")
    return max(worst, again, key=lambda judgement: judgement.error_ratio)


def _changed_input(call: Call) -> str:
    for name, after in inputs.exact(call.tensors).items():
        before = call.before[name]
        if before.shape != after.shape or not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            return f"the call changed its input {name}"
    return ""


def _share_memory(one: Any, other: Any) -> bool:
    if not hasattr(one, "untyped_storage") or one.numel() == 0 or other.numel() == 0:
        return False
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _same(one: Any, other: Any) -> bool:
    import torch

    return torch.equal(one.nan_to_num(), other.nan_to_num()) and torch.equal(one.isnan(), other.isnan())
