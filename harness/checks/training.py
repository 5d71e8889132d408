r"""Does it learn? The notes' kernel regression: one bandwidth w, trained by gradient descent on a toy set.

The set is the case's keys and values, and at its queries what the kernel of bandwidth $\tfrac32 w$ answers. With the
loss $L = \frac1N \sum (O - T)^2$ and its derivative g by the oracle, at the implementation's own w, the rate r is
halved until $L(w - r g) \le L(w) - \tfrac{r}{2} g^2$. A step along $g + e$, with an error e, then still lowers the loss
by $\tfrac{r}{2} (g^2 - e^2)$ while the curvature stays below $1/r$. So the descent goes on as long as g exceeds its
error bound; every output and derivative on the way is held to its own, and the loss must end below where it began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, error_bounds
from attention_harness.bounds.error_bound import Evaluate, gradient_bounds
from attention_harness.bounds.judge import Judgement, judge, worst
from attention_harness.cases import inputs
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.gradients import has_gradient
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

Array = NDArray[np.float64]

STEPS = 8


def is_regression(implementation: Declaration, case: Case) -> bool:
    """Return whether this is the plain regression in single precision or better, of more than one query and key."""
    plain = case.content == "ordinary" and case.layout == "contiguous" and not case.options
    return plain and case.format.single and min(case.sizes["Lq"], case.sizes["Lk"]) > 1


@check("training", of_mechanism("training"), has_gradient, is_regression)
def training(subject: Subject) -> Judgement:
    """Gradient descent on the kernel's bandwidth: every output, derivative and step is right, and the loss falls."""
    import torch

    case, arithmetic = subject.case, subject.implementation.capabilities.arithmetic
    evaluate = mechanisms()[case.mechanism].evaluate
    tensors = inputs.tensors(case)
    arrays = inputs.exact(tensors)
    target = torch.from_numpy(evaluate(**(arrays | {"w": 1.5 * arrays["w"]}))[0]).to(tensors["query"])
    judgements: list[Judgement] = []
    losses: list[float] = []
    for step in range(STEPS + 1):
        output = subject.prepared.call(tensors).output
        numbers(output, case, tuple(target.shape), "output in training")
        error = output - target
        losses.append(float((to_array(error) ** 2).mean()))
        upstream = error * (2 / error.numel())
        with time_account.spent(time_account.REFERENCE):
            right = error_bounds(evaluate, arrays, {}, case.dtype, arithmetic)[0]
            slope = gradient_bounds(evaluate, arrays, {}, case.dtype, arithmetic, to_array(upstream))["w"]
        derivatives = subject.prepared.gradients(tensors, upstream, ["w"])
        output = numbers(derivatives.output, case, tuple(target.shape), "output in training")
        if not derivatives.differentiable:
            return Judgement.refuse("the output does not depend on w for autograd")
        gradient = derivatives.by_name["w"]
        if gradient is None:
            return Judgement.refuse("gradient of w: missing, autograd finds no way from the output to it")
        found = numbers(gradient, case, slope.value.shape, f"gradient of w in step {step}")
        for what, array, error_bound in (("output", output, right), ("gradient of w", found, slope)):
            judged = judge(array, replace(error_bound, linear=None))
            if judged.reason:
                return replace(judged, reason=f"{what} in step {step}: {judged.reason}")
            judgements.append(judged)
        if step == STEPS or np.abs(slope.value).item() <= slope.bound.item():
            break
        with time_account.spent(time_account.REFERENCE):
            rate = _rate(lambda w: _loss(evaluate, arrays | {"w": w}, to_array(target)), arrays["w"], slope)
        tensors["w"] = (tensors["w"] - rate * gradient).detach()
        arrays["w"] = to_array(tensors["w"])
    if len(losses) > 1 and not losses[-1] < losses[0]:  # where w has no influence there is no step
        return Judgement.refuse(f"the loss is {losses[-1]:.9g} after {len(losses) - 1} steps, {losses[0]:.9g} before")
    return worst(judgements)


def _loss(evaluate: Evaluate, arrays: Mapping[str, Array], target: Array) -> float:
    return float(((evaluate(**arrays)[0] - target) ** 2).mean())


def _rate(loss: Callable[[Array], float], w: Array, slope: ErrorBound) -> float:
    """Return the largest of the rates |w / g|, half of it, and so on that lowers the loss by r g^2 / 2."""
    g = slope.value
    rate = float(np.abs(w / g).item())
    while loss(w - rate * g) > loss(w) - rate / 2 * float((g * g).item()):
        rate /= 2
    return rate
