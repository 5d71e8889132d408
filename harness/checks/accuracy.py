"""Is the answer right? Form first, then the numbers against their error bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.checks.subject import Call, Subject
from attention_harness.model.case import Case
from attention_harness.registry import Implementation, mechanisms

_ORDINARY = ("ordinary", "large", "shifted")


def output(subject: Subject) -> Judgement:
    """The output has the right shape, dtype and device, and every element is within its error bound."""
    return judge_call(subject.first, subject.error_bound()[0])


def weights(subject: Subject) -> Judgement:
    """The returned weights are the softmax of the scores, element by element within their error bound."""
    error_bound = subject.error_bound()[1]
    if error_bound is None:
        raise ValueError(f"{subject.case.mechanism} has no weights")
    if subject.first.weights is None:
        return Judgement.refuse("declares weights, but returned none: expected the pair (output, weights)")
    return _judge_tensor(subject.first.weights, subject.case, error_bound, "weights")


def returns_weights(implementation: Implementation, case: Case) -> bool:
    """Whether the implementation declares weights and the mechanism has them."""
    known = mechanisms()[case.mechanism]
    return implementation.capabilities.weights and bool(known.scores)


def is_degenerate(case: Case) -> bool:
    """Whether the inputs have few degrees of freedom, so that errors repeat instead of averaging out."""
    return case.content not in _ORDINARY


def judge_call(call: Call, error_bound: ErrorBound) -> Judgement:
    """Return the judgement of a call's output."""
    return _judge_tensor(call.output, call.case, error_bound, "output")


def _judge_tensor(tensor: Any, case: Case, error_bound: ErrorBound, what: str) -> Judgement:
    form = wrong_form(tensor, case, error_bound.value.shape, what)
    if form:
        return Judgement.refuse(form)
    if error_bound.overflow:
        raise ValueError(f"the case lies outside the range of its dtype: {error_bound.overflow}")
    return judge(to_array(tensor), error_bound, degenerate=is_degenerate(case))


def wrong_form(tensor: Any, case: Case, shape: tuple[int, ...], what: str) -> str:
    """Return what is wrong with a tensor's type, shape, dtype or device, or ""."""
    import torch

    if type(tensor) is not torch.Tensor:
        return f"{what} is a {type(tensor).__name__}, expected torch.Tensor"
    if tuple(tensor.shape) != shape:
        return f"{what} has shape {tuple(tensor.shape)}, expected {shape}"
    if tensor.dtype != getattr(torch, case.format.torch):
        return f"{what} has dtype {tensor.dtype}, expected torch.{case.dtype}"
    if tensor.device.type != case.device:
        return f"{what} is on {tensor.device}, expected {case.device}"
    return ""


def to_array(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor's numbers in float64."""
    return tensor.detach().double().cpu().numpy()
