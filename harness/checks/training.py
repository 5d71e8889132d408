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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, error_bounds
from attention_harness.bounds.gradients import gradient_bounds
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.gradients import has_gradient
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

STEPS = 8


def is_regression(implementation: Declaration, case: Case) -> bool:
    """Return whether this is the plain regression in single precision or better, of more than one query and key."""
    plain = case.content == "ordinary" and case.layout == "contiguous" and not case.options
    return plain and case.format.single and min(case.sizes["Lq"], case.sizes["Lk"]) > 1


@check("training", of_mechanism("training"), has_gradient, is_regression)
def training(subject: Subject) -> Judgement:
    """Gradient descent on the kernel's bandwidth: every output, derivative and step is right, and the loss falls."""
    regression = _Regression(subject)
    judgements = []
    for step in range(STEPS + 1):
        judged, found = regression.step(step)
        if judged.reason or found is None:
            return judged
        judgements.append(judged)
        if step == STEPS or np.abs(regression.slope.value).item() <= regression.slope.bound.item():
            break
        regression.descend(found)
    losses = regression.losses
    if len(losses) > 1 and not losses[-1] < losses[0]:  # where w has no influence there is no step
        return Judgement.refuse(f"the loss is {losses[-1]:.9g} after {len(losses) - 1} steps, {losses[0]:.9g} before")
    return max(judgements, key=_error_ratio)


class _Regression:
    """The descent: the bandwidth where it stands, the oracle's loss and slope there, and the losses so far."""

    def __init__(self, subject: Subject) -> None:
        import torch

        self.subject = subject
        self.evaluate = mechanisms()[subject.case.mechanism].evaluate
        self.tensors = inputs.tensors(subject.case)
        self.arrays = inputs.exact(self.tensors)
        right = self.evaluate(**(self.arrays | {"w": 1.5 * self.arrays["w"]}))[0]
        self.target = torch.from_numpy(right).to(self.tensors["query"])
        self.losses: list[float] = []
        self.slope: ErrorBound

    def step(self, step: int) -> tuple[Judgement, Tensor | None]:
        """Return the judgement of the output and the gradient of w, and that gradient."""
        case, arithmetic = self.subject.case, self.subject.implementation.capabilities.arithmetic
        prepared = self.subject.prepared
        output = prepared.call(self.tensors).output
        numbers(output, case, tuple(self.target.shape), "output in training")
        error = output - self.target
        self.losses.append(float((to_array(error) ** 2).mean()))
        upstream = error * (2 / error.numel())
        with time_account.spent(time_account.REFERENCE):
            right = error_bounds(self.evaluate, self.arrays, {}, case.dtype, arithmetic)[0]
            slopes = gradient_bounds(self.evaluate, self.arrays, {}, case.dtype, arithmetic, to_array(upstream))
        self.slope = slopes["w"]
        derivatives = prepared.gradients(self.tensors, upstream, ["w"])
        output = numbers(derivatives.output, case, tuple(self.target.shape), "output in training")
        if not derivatives.differentiable:
            return Judgement.refuse("the output does not depend on w for autograd"), None
        found = derivatives.by_name["w"]
        if found is None:
            return Judgement.refuse("gradient of w: missing, autograd finds no way from the output to it"), None
        gradient = numbers(found, case, self.slope.value.shape, f"gradient of w in step {step}")
        judged = _judged(output, right, f"output in step {step}")
        if judged.reason:
            return judged, None
        return max(judged, _judged(gradient, self.slope, f"gradient of w in step {step}"), key=_error_ratio), found

    def descend(self, gradient: Tensor) -> None:
        """Move w along the gradient that the implementation computed."""
        target = to_array(self.target)

        def loss(w: Array) -> float:
            return float(((self.evaluate(**(self.arrays | {"w": w}))[0] - target) ** 2).mean())

        with time_account.spent(time_account.REFERENCE):
            rate = _rate(loss, self.arrays["w"], self.slope)
        self.tensors["w"] = (self.tensors["w"] - rate * gradient).detach()
        self.arrays["w"] = to_array(self.tensors["w"])


def _error_ratio(judgement: Judgement) -> float:
    return judgement.error_ratio


def _judged(array: Array, error_bound: ErrorBound, what: str) -> Judgement:
    judged = judge(array, replace(error_bound, linear=None))
    return replace(judged, reason=f"{what}: {judged.reason}") if judged.reason else judged


def _rate(loss: Callable[[Array], float], w: Array, slope: ErrorBound) -> float:
    """Return the largest of the rates |w / g|, half of it, and so on that lowers the loss by r g^2 / 2."""
    g = slope.value
    rate = float(np.abs(w / g).item())
    while loss(w - rate * g) > loss(w) - rate / 2 * float((g * g).item()):
        rate /= 2
    return rate
