r"""Does it learn? The notes' kernel regression: one bandwidth w, trained by gradient descent on a toy set.

The set is the case's keys and values, and at its queries what the kernel of bandwidth $\tfrac32 w$ answers. With the
loss $L = \frac1N \sum (O - T)^2$ and its derivative g by the oracle, at the implementation's own w, the rate r is
halved until $L(w - r g) \le L(w) - \tfrac{r}{2} g^2$. A step along $g + e$, with an error e, then still lowers the loss
by $\tfrac{r}{2} (g^2 - e^2)$ while the curvature stays below $1/r$. So the descent goes on as long as g exceeds its
error bound; every output and derivative on the way is held to its own, and the loss must end below where it began.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, error_bounds
from attention_harness.bounds.gradients import gradient_bounds
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import to_array, wrong_form
from attention_harness.checks.gradients import has_gradient
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.registry import Implementation, mechanisms

Array = NDArray[np.float64]

STEPS = 8


def is_regression(implementation: Implementation, case: Case) -> bool:
    """Whether this is the plain kernel regression in single precision or better, with more than one query and key."""
    plain = case.content == "ordinary" and case.layout == "contiguous" and not case.options
    learns = case.mechanism == "gaussian_kernel" and case.format.single
    return has_gradient(implementation, case) and plain and learns and min(case.sizes["Lq"], case.sizes["Lk"]) > 1


def training(subject: Subject) -> Judgement:
    """Gradient descent on the kernel's bandwidth: every output, derivative and step is right, and the loss falls."""
    import torch

    case, arithmetic = subject.case, subject.implementation.capabilities.arithmetic
    evaluate = mechanisms()[case.mechanism].evaluate
    tensors = inputs.tensors(case)
    given = inputs.exact(tensors)
    target = torch.from_numpy(evaluate(**(given | {"w": 1.5 * given["w"]}))[0]).to(tensors["query"])
    asked = to_array(target)
    losses: list[float] = []
    worst = Judgement(0.0)
    for step in range(STEPS + 1):
        w = tensors["w"].detach().requires_grad_()
        given["w"] = to_array(w)
        with torch.enable_grad():
            result = subject.callable(**(tensors | {"w": w}))
        output = result[0] if isinstance(result, tuple) and result else result
        form = wrong_form(output, case, asked.shape, "output in training")
        if form or not output.requires_grad:
            return Judgement.refuse(form or "the output does not depend on w for autograd")
        error = output.detach() - target
        losses.append(float((to_array(error) ** 2).mean()))
        upstream = error * (2 / error.numel())
        with time_account.spent(time_account.REFERENCE):
            wanted = error_bounds(evaluate, given, {}, case.dtype, arithmetic)[0]
            slope = gradient_bounds(evaluate, given, {}, case.dtype, arithmetic, to_array(upstream))["w"]
        with time_account.spent(time_account.IMPLEMENTATION):
            [found] = torch.autograd.grad(output, [w], upstream, allow_unused=True)
        if found is None:
            return Judgement.refuse("gradient of w: missing, autograd finds no way from the output to it")
        for what, tensor, error_bound in (("output", output, wanted), ("gradient of w", found, slope)):
            judged = _judged(tensor, error_bound, case, f"{what} in step {step}")
            if judged.reason:
                return judged
            worst = max(worst, judged, key=lambda judgement: judgement.error_ratio)
        if step == STEPS or np.abs(slope.value).item() <= slope.bound.item():
            break
        tensors["w"] = (
            w - _rate(lambda at: _loss(evaluate(**(given | {"w": at}))[0], asked), given["w"], slope) * found
        ).detach()
    if len(losses) > 1 and not losses[-1] < losses[0]:  # where w has no influence there is no step
        return Judgement.refuse(f"the loss is {losses[-1]:.9g} after {len(losses) - 1} steps, {losses[0]:.9g} before")
    return worst


def _judged(tensor: object, error_bound: ErrorBound, case: Case, what: str) -> Judgement:
    form = wrong_form(tensor, case, error_bound.value.shape, what)
    if form:
        return Judgement.refuse(form)
    judged = judge(to_array(tensor), replace(error_bound, linear=None))
    return replace(judged, reason=f"{what}: {judged.reason}") if judged.reason else judged


def _loss(output: Array, target: Array) -> float:
    return float(((output - target) ** 2).mean())


def _rate(loss: Callable[[Array], float], w: Array, slope: ErrorBound) -> float:
    """Return the largest of the rates |w / g|, half of it, and so on that lowers the loss by r g^2 / 2."""
    g = slope.value
    rate = float(np.abs(w / g).item())
    while loss(w - rate * g) > loss(w) - rate / 2 * float((g * g).item()):
        rate /= 2
    return rate
