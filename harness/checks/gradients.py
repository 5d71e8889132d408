"""Is the gradient right? Every floating tensor's, against the float64 tape, whatever memory the upstream lies in."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.error_bound import gradient_bounds, second_derivative_bounds
from attention_harness.bounds.judge import Judgement, judge, worst
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import EXAMPLE
from attention_harness.checks.builds import is_plain, is_sampled, is_worth_a_build
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import (
    OTHER_WORDS,
    acts_in_training,
    arguments,
    arrays_of,
    axes_of,
    fully_masked_rows,
    spoilt_batches,
)
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.sampling import short
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.capabilities import Arithmetic, Policy
from attention_harness.model.case import Case
from attention_harness.model.returned import Derivatives
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


def has_gradient(implementation: Declaration, case: Case) -> bool:
    """Return whether gradients are declared, and the inputs are no example's: those add nothing but time.

    Nor does a case with an option that acts in training alone, and codes have none. Of an implementation that is built
    for each structure, the plain float32 cases and one in ten of the others, by their fingerprint, are judged; lengths
    of 0 are not.
    """
    capabilities = implementation.capabilities
    drawn = not case.content.startswith(EXAMPLE) and not acts_in_training(case) and inputs.codes(case) is None
    if drawn and capabilities.builds:
        drawn = is_worth_a_build(implementation, case) and not _is_empty(case)
    return capabilities.gradients and drawn


@check("gradient", has_gradient, wide=True)
def gradient(subject: Subject) -> Judgement:
    """The gradient of every floating tensor is within its error bound, and none is missing.

    It is asked by `torch.autograd.grad`, and where a row sees no key by `.backward()` too.

    One that is missing counts as zero where a length is 0: there is nothing to depend on. Where (output, weights) is
    returned, the gradient runs through the output alone. The upstream gradient of a row that sees no key, and gets
    "nan" or "mean" by the declared policy, is zero. NaN is not judged in a batch element with a row of NaN, nor in what
    the batch shares: NaN times zero is NaN, and it reaches whatever the row's keys share.
    """
    names = floating(inputs.tensors(subject.case))
    judged = _judged(subject, names, "gradient", accumulated=False)
    if judged.reason or not fully_masked_rows(subject.case).any():
        return judged
    return worst([judged, _judged(subject, names, "gradient by .backward()", accumulated=True)])


def comes_alone(implementation: Declaration, case: Case) -> bool:
    """Return whether tensors can be asked alone: not where one is given for several inputs."""
    return case.content != "same"


@check("gradient_alone", has_gradient, comes_alone, is_sampled)
def gradient_alone(subject: Subject) -> Judgement:
    """The gradient of a tensor that alone requires one, by `.backward()`, is within its error bound.

    What an option brings, a bias or a learned scale, is asked wherever it is given; of the mechanism's own tensors one
    in each case, chosen by its fingerprint.
    """
    return worst(
        _judged(subject, names, "gradient, alone required,", accumulated=True) for names in alone(subject.case)
    )


def alone(case: Case) -> list[list[str]]:
    """Return the floating tensors that are asked alone: what options bring, and one of the mechanism's own."""
    names = floating(inputs.tensors(case))
    of_mechanism = [declared.name for declared in mechanisms()[case.mechanism].inputs if declared.name in names]
    chosen = of_mechanism[case.fingerprint % len(of_mechanism)]
    return [[chosen], *([name] for name in names if name not in of_mechanism)]


def _is_short_or_plain(case: Case) -> bool:
    """Return whether a case is short, or has no options: a kernel of whole blocks has no short one."""
    return short(case) or (is_plain(case) and not _is_empty(case))


@check("gradient_after_call", has_gradient, is_sampled, sampled=_is_short_or_plain)
def gradient_after_call(subject: Subject) -> Judgement:
    """The gradient is right where another call, with other numbers, came between the forward and the backward pass.

    So a backward pass that reads what the latest forward pass left, and not what its own did, is seen.
    """
    other = inputs.tensors(replace(subject.case, draw=subject.case.draw + 1))
    what = "gradient, after a call with other numbers,"
    return _judged(subject, floating(other), what, accumulated=False, between=other)


def _judged(
    subject: Subject,
    names: list[str],
    what: str,
    *,
    accumulated: bool,
    between: Mapping[str, Tensor] | None = None,
) -> Judgement:
    """Return the judgement of the gradients by the named tensors, which alone require one."""
    case, capabilities = subject.case, subject.implementation.capabilities
    policy = capabilities.policy
    error_bounds = first_bounds(case, capabilities.arithmetic, policy)
    tensors = inputs.tensors(case)
    upstream = upstream_gradient(case, policy)
    derivatives = subject.prepared.gradients(tensors, upstream, names, accumulated=accumulated, between=between)
    if wrong := _not_differentiable(derivatives, case):
        return Judgement.refuse(wrong if len(names) > 1 else f"{wrong}, where {names[0]} alone requires a gradient")
    found = dict.fromkeys(names) | dict(derivatives.by_name)
    if _is_empty(case):
        found = _filled(found, tensors)
    found = {name: excused(case, policy, name, one, error_bounds[name].value) for name, one in found.items()}
    return _worst(found, error_bounds, case, what)


def excused(case: Case, policy: Policy, name: str, gradient: Any, right: NDArray[np.float64]) -> Any:
    """Return a gradient with the right numbers for NaN that a row of NaN, which sees no key, may have spread."""
    import torch

    if gradient is None or policy == "zero" or gradient.shape != right.shape:
        return gradient
    spread = spoilt_batches(case, policy)
    alone = axes_of(case, name)[:1] == ("B",)
    where = torch.from_numpy(spread.reshape(-1, *[1] * (gradient.ndim - 1)) if alone else spread.any(keepdims=True))
    return torch.where(gradient.isnan() & where.to(gradient.device), torch.from_numpy(right).to(gradient), gradient)


def has_second_derivative(implementation: Declaration, case: Case) -> bool:
    """Return whether second derivatives are declared, on ordinary numbers in float64 of a mechanism that has scores."""
    declared = implementation.capabilities.second_derivatives and has_gradient(implementation, case)
    plain = case.format.as_reference and case.content == "ordinary" and not _is_empty(case)
    return declared and plain and bool(mechanisms()[case.mechanism].scores)


@check("second_derivative", has_second_derivative)
def second_derivative(subject: Subject) -> Judgement:
    """The gradient of a fixed linear combination of all gradients is within its error bound: a tape over a tape.

    NaN of rows that see no key is excused as in the first gradient.
    """
    case, capabilities = subject.case, subject.implementation.capabilities
    policy = capabilities.policy
    error_bounds = second_bounds(case, capabilities.arithmetic, policy)
    tensors = inputs.tensors(case)
    directions = {name: direction(case, name, tensors[name]) for name in floating(tensors)}
    upstream = upstream_gradient(case, policy)
    derivatives = subject.prepared.second_derivatives(tensors, upstream, directions)
    if wrong := _not_differentiable(derivatives, case):
        return Judgement.refuse(wrong)
    for name, derivative in derivatives.by_name.items():
        if derivative is None and np.any(np.abs(error_bounds[name].value) > error_bounds[name].bound):
            return Judgement.refuse(
                f"second derivative of {name}: missing, autograd finds no way from the first gradients to it; "
                "a backward pass that autograd can differentiate has one, or second_derivatives=False is declared"
            )
    found = _filled(derivatives.by_name, tensors)
    found = {name: excused(case, policy, name, one, error_bounds[name].value) for name, one in found.items()}
    return _worst(found, error_bounds, case, "second derivative")


def _not_differentiable(derivatives: Derivatives, case: Case) -> str:
    """Return why autograd finds no way from the output, or ""; raise WrongForm if the output is no right tensor."""
    numbers(derivatives.output, case, _output_shape(case), "output with gradients enabled")
    if derivatives.differentiable or _is_empty(case):
        return ""
    return "the output does not depend on its inputs for autograd; expected an output with requires_grad"


def _is_empty(case: Case) -> bool:
    return 0 in case.sizes.values()


def _filled(found: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the derivatives with zero for those that are missing."""
    import torch

    return {name: torch.zeros_like(tensors[name]) if one is None else one for name, one in found.items()}


def _worst(found: Mapping[str, Any], error_bounds: Mapping[str, ErrorBound], case: Case, what: str) -> Judgement:
    """Return the worst judgement over the tensors; one whose gradient the dtype has no number for is left out."""
    judgements = []
    for name, derivative in found.items():
        error_bound = error_bounds[name]
        if derivative is None:
            return Judgement.refuse(f"{what} of {name}: missing, autograd finds no way from the output to it")
        array = numbers(derivative, case, error_bound.value.shape, f"{what} of {name}")
        if error_bound.overflow:
            continue
        judged = judge(array, error_bound)
        if judged.reason:
            return replace(judged, reason=f"{what} of {name}: {judged.reason}")
        judgements.append(judged)
    return worst(judgements or [Judgement(0.0)])


# --- the upstream gradient and the directions: the same numbers on every machine


def floating(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that have a gradient."""
    return [name for name, tensor in tensors.items() if tensor.is_floating_point()]


def _output_shape(case: Case) -> tuple[int, ...]:
    return inputs.shape_of(mechanisms()[case.mechanism].output, case.sizes)


def upstream_gradient(case: Case, policy: Policy) -> Tensor:
    """Return the upstream gradient; by the fingerprint contiguous, transposed, or one row for all queries."""
    import torch

    drawn = inputs.drawn(case, "upstream", _output_shape(case))
    other = policy != "zero" and fully_masked_rows(case, policy=policy, words=OTHER_WORDS)
    if np.any(other):
        drawn = np.where(np.asarray(other)[..., None], 0.0, drawn)
    upstream = torch.from_numpy(drawn).to(getattr(torch, case.format.torch)).to(case.device)
    if case.fingerprint % 3 == 1:
        return upstream.mT.contiguous().mT
    if case.fingerprint % 3 == 2 and not np.any(other):
        return upstream[..., :1, :].expand(upstream.shape)
    return upstream


def direction(case: Case, name: str, like: Tensor) -> Tensor:
    """Return the factor of a tensor's gradient in the sum whose gradient is the second derivative."""
    import torch

    return torch.from_numpy(inputs.drawn(case, f"direction.{name}", tuple(like.shape))).to(like)


@functools.lru_cache(maxsize=256)
def first_bounds(case: Case, arithmetic: Arithmetic, policy: Policy) -> dict[str, ErrorBound]:
    """Return the error bounds of the gradients of a case's floating tensors."""
    upstream = to_array(upstream_gradient(case.on("cpu"), policy))
    evaluate = mechanisms()[case.mechanism].evaluate
    with time_account.spent(time_account.REFERENCE):
        return gradient_bounds(evaluate, *arguments(case, arrays_of(case)), case.dtype, arithmetic, upstream)


@functools.lru_cache(maxsize=64)
def second_bounds(case: Case, arithmetic: Arithmetic, policy: Policy) -> dict[str, ErrorBound]:
    """Return the error bounds of the second derivatives of a case's floating tensors."""
    tensors, options = arguments(case, arrays_of(case))
    upstream = to_array(upstream_gradient(case.on("cpu"), policy))
    with_gradient = {name: x for name, x in (tensors | options).items() if getattr(x, "dtype", None) == np.float64}
    directions = {name: inputs.drawn(case, f"direction.{name}", x.shape) for name, x in with_gradient.items()}
    evaluate = mechanisms()[case.mechanism].evaluate
    with time_account.spent(time_account.REFERENCE):
        return second_derivative_bounds(evaluate, tensors, options, case.dtype, arithmetic, upstream, directions)
