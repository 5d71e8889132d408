"""Is the gradient right? Every floating tensor's, against the float64 tape, whatever memory the upstream lies in."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.gradients import gradient_bounds, second_derivative_bounds
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import to_array, wrong_form
from attention_harness.checks.subject import Subject, fully_masked_rows
from attention_harness.model import time_account
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.registry import Implementation, mechanisms

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

_SAMPLED = 10


def has_gradient(implementation: Implementation, case: Case) -> bool:
    """Whether gradients are declared, and the inputs are drawn: examples and recordings add nothing but time.

    Nor does a case with dropout, which acts in training alone. Where gradients are costly, the plain float32 cases
    (seed 0) and every tenth row of the covering array (seeds count its rows) are asked; lengths of 0 are not.
    """
    capabilities = implementation.capabilities
    drawn = case.content in inputs.DISTRIBUTIONS and "dropout" not in case.options
    if drawn and capabilities.costly_gradients:
        drawn = case.seed % _SAMPLED == 0 and not _nothing_there(case)
        drawn &= case.seed > 0 or bool(case.options) or case.dtype == "float32"
    return capabilities.gradients and drawn


def gradient(subject: Subject) -> Judgement:
    """The gradient of every floating tensor is within its error bound, and none is missing.

    One that is missing counts as zero where a length is 0: there is nothing to depend on.
    Where (output, weights) is returned, the gradient runs through the output alone. Under a policy for fully masked
    rows other
    than "zero" the upstream gradient of those rows is zero. Under the policy "nan" NaN is not judged in a batch element
    with such a row, nor in what the batch shares: NaN times zero is NaN, and it reaches whatever the row's keys share.
    """
    import torch

    case = subject.case
    policy = subject.implementation.capabilities.fully_masked_rows
    error_bounds = _first_bounds(case, subject.implementation.capabilities.arithmetic, policy)
    leaves, output = _graph(subject)
    form = _wrong_output(output, case)
    if form:
        return Judgement.refuse(form)
    tensors, upstream = list(leaves.values()), _upstream(case, policy)
    with time_account.spent(time_account.IMPLEMENTATION):
        found = torch.autograd.grad(output, tensors, upstream, allow_unused=True) if output.requires_grad else ()
    if _nothing_there(case):
        found = tuple(torch.zeros_like(t) if g is None else g for t, g in itertools.zip_longest(tensors, found))
    if policy == "nan":
        found = tuple(_excused(case, name, g, error_bounds[name]) for name, g in zip(leaves, found))
    return _worst(dict(zip(leaves, found)), error_bounds, case, "gradient")


def _excused(case: Case, name: str, gradient: Any, error_bound: ErrorBound) -> Any:
    """Return a gradient with the right numbers for NaN that a row of NaN, which sees no key, may have spread."""
    import torch

    if gradient is None:
        return None
    spread = fully_masked_rows(case).reshape(case.sizes["B"], -1).any(1)
    axes = next((own.axes for own in mechanisms()[case.mechanism].inputs if own.name == name), ())
    alone = axes[:1] == ("B",) or case.options.get(name) in ("full", "batch")
    where = torch.from_numpy(spread.reshape(-1, *[1] * (gradient.ndim - 1)) if alone else spread.any(keepdims=True))
    return torch.where(gradient.isnan() & where, torch.from_numpy(error_bound.value).to(gradient), gradient)


def has_second_derivative(implementation: Implementation, case: Case) -> bool:
    """Whether second derivatives are declared, on ordinary numbers in float64 of a mechanism that has scores.

    They are not asked of what makes NaN of fully masked rows: it reaches every second derivative.
    """
    known = implementation.capabilities
    declared = known.second_derivatives and known.fully_masked_rows != "nan" and has_gradient(implementation, case)
    plain = case.format.as_reference and case.content == "ordinary" and not _nothing_there(case)
    return declared and plain and bool(mechanisms()[case.mechanism].scores)


def second_derivative(subject: Subject) -> Judgement:
    """The gradient of a fixed linear combination of all gradients is within its error bound: a tape over a tape."""
    import torch

    case = subject.case
    policy = subject.implementation.capabilities.fully_masked_rows
    error_bounds = _second_bounds(case, subject.implementation.capabilities.arithmetic, policy)
    leaves, output = _graph(subject)
    form = _wrong_output(output, case)
    if form:
        return Judgement.refuse(form)
    tensors = list(leaves.values())
    with time_account.spent(time_account.IMPLEMENTATION):
        first = torch.autograd.grad(output, tensors, _upstream(case, policy), create_graph=True, allow_unused=True)
    combined = [(own * _direction(case, name, own)).sum() for name, own in zip(leaves, first) if own is not None]
    if not combined:
        return Judgement.refuse("no tensor has a gradient")
    with time_account.spent(time_account.IMPLEMENTATION):
        second = torch.autograd.grad(torch.stack(combined).sum(), tensors, allow_unused=True)
    filled = {name: torch.zeros_like(leaves[name]) if own is None else own for name, own in zip(leaves, second)}
    return _worst(filled, error_bounds, case, "second derivative")


# --- the implementation's side


def _graph(subject: Subject) -> tuple[dict[str, Tensor], Any]:
    """Return the floating tensors as leaves that lie in memory as the case says, and the output computed from them."""
    import torch

    given = inputs.tensors(subject.case)
    leaves = {name: t.detach().requires_grad_() for name, t in given.items() if t.is_floating_point()}
    with torch.enable_grad():
        result = subject.callable(**(given | leaves))
    return leaves, result[0] if isinstance(result, tuple) and result else result


def _wrong_output(output: Any, case: Case) -> str:
    form = wrong_form(output, case, _output_shape(case), "output with gradients enabled")
    if form or output.requires_grad or _nothing_there(case):
        return form
    return "the output does not depend on its inputs for autograd; expected an output with requires_grad"


def _nothing_there(case: Case) -> bool:
    return 0 in case.sizes.values()


def _worst(found: Mapping[str, Any], error_bounds: Mapping[str, ErrorBound], case: Case, what: str) -> Judgement:
    """Return the worst judgement over the tensors; one whose gradient the dtype has no number for is left out."""
    worst = Judgement(0.0)
    for name, own in found.items():
        error_bound = error_bounds[name]
        if own is None:
            return Judgement.refuse(f"{what} of {name}: missing, autograd finds no way from the output to it")
        form = wrong_form(own, case, error_bound.value.shape, f"{what} of {name}")
        if form:
            return Judgement.refuse(form)
        if error_bound.overflow:
            continue
        judged = judge(to_array(own), error_bound)
        if judged.reason:
            return replace(judged, reason=f"{what} of {name}: {judged.reason}")
        worst = max(worst, judged, key=lambda judgement: judgement.error_ratio)
    return worst


# --- what is asked: the same numbers on every machine


def _output_shape(case: Case) -> tuple[int, ...]:
    return inputs.shape_of(mechanisms()[case.mechanism].output, case.sizes)


def _upstream(case: Case, policy: str) -> Tensor:
    """Return the upstream gradient. Its memory depends on the seed: contiguous, transposed, one row for all queries."""
    import torch

    drawn = inputs.drawn(case, "upstream", _output_shape(case))
    if policy != "zero":
        drawn = np.where(fully_masked_rows(case)[..., None], 0.0, drawn)
    upstream = torch.from_numpy(drawn).to(getattr(torch, case.format.torch)).to(case.device)
    if case.seed % 3 == 1:
        return upstream.mT.contiguous().mT
    if case.seed % 3 == 2 and policy == "zero":
        return upstream[..., :1, :].expand(upstream.shape)
    return upstream


def _direction(case: Case, name: str, like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(inputs.drawn(case, f"direction.{name}", tuple(like.shape))).to(like)


def _given(case: Case) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the mechanism's tensors, and its options."""
    given = inputs.exact(inputs.tensors(case.on("cpu")))
    tensors = {declared.name: given.pop(declared.name) for declared in mechanisms()[case.mechanism].inputs}
    return tensors, given | inputs.arguments(case)


@functools.lru_cache(maxsize=256)
def _first_bounds(case: Case, arithmetic: Arithmetic, policy: str) -> dict[str, ErrorBound]:
    upstream = to_array(_upstream(case.on("cpu"), policy))
    evaluate = mechanisms()[case.mechanism].evaluate
    with time_account.spent(time_account.REFERENCE):
        return gradient_bounds(evaluate, *_given(case), case.dtype, arithmetic, upstream)


@functools.lru_cache(maxsize=64)
def _second_bounds(case: Case, arithmetic: Arithmetic, policy: str) -> dict[str, ErrorBound]:
    tensors, options = _given(case)
    upstream = to_array(_upstream(case.on("cpu"), policy))
    floating = {name: x for name, x in (tensors | options).items() if getattr(x, "dtype", None) == np.float64}
    directions = {name: inputs.drawn(case, f"direction.{name}", x.shape) for name, x in floating.items()}
    evaluate = mechanisms()[case.mechanism].evaluate
    with time_account.spent(time_account.REFERENCE):
        return second_derivative_bounds(evaluate, tensors, options, case.dtype, arithmetic, upstream, directions)
