r"""Does the backward pass of dropout drop what the forward pass dropped? No oracle is needed for that.

Whatever was drawn, the output is linear in the values: $O = W V$ with the surviving weights W, and $dV = W^\top dO$.
So in every column of the values, for each batch element and key head,

$$\sum_j dV_j V_j = \sum_i dO_i O_i$$

Where both passes round, the two sides differ by no more than their errors allow. With the bounds b of the weights
(p), of the output and of the gradient dV without dropout, all of which grow by 1/k at most where the survivors are
divided by the keep probability k, and with two roundings of that division in each pass, the slack is

$$\tfrac1k \sum_j |V_j|\, b(dV_j)
+ \tfrac1k \sum_i |dO_i| \Big(b(O_i) + \sum_j \big(b(p_{ij}) + 4u\,(|p_{ij}| + b(p_{ij})) + 4\eta\big) |V_j|\Big)$$

with the unit roundoff u of the case's dtype and $\eta$, half the spacing of its subnormal numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, ratio
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import NO_CLAIM, finding, is_anchor, takes
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import fully_masked_rows, spoilt_batches
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.gradients import first_bounds, upstream_gradient
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

Array = NDArray[np.float64]


def drops_with_gradients(implementation: Declaration, case: Case) -> bool:
    """Return whether a case has dropout, gradients are declared, and weights meet the values directly."""
    direct = mechanisms()[case.mechanism].weighs_directly and 0 not in case.sizes.values()
    return "dropout" in case.options and implementation.capabilities.gradients and direct


@check("dropout_gradient", drops_with_gradients)
def dropout_gradient(subject: Subject) -> Judgement:
    """In training, the backward pass drops what the forward pass dropped: ⟨dV, V⟩ = ⟨dO, O⟩ in every column."""
    case, capabilities = subject.case, subject.implementation.capabilities
    policy = capabilities.policy
    bounds, weights = subject.error_bound()
    of_value = first_bounds(case, capabilities.arithmetic, policy)["value"]
    if weights is None or of_value.overflow:
        return Judgement(0.0)
    tensors, upstream = inputs.tensors(case), upstream_gradient(case, policy)
    seed = case.fingerprint % 2**31
    derivatives = subject.prepared.gradients(tensors, upstream, ["value"], training=True, seed=seed)
    output = numbers(derivatives.output, case, bounds.value.shape, "output in training")
    gradient = derivatives.by_name.get("value")
    if gradient is None:
        return Judgement.refuse("gradient of value in training: missing, autograd finds no way from the output to it")
    d_value = numbers(gradient, case, of_value.value.shape, "gradient of value in training")
    masked = fully_masked_rows(case)[..., None]
    output = np.where(masked, 0.0, output)  # a policy's rows: their upstream gradient is zero
    value, d_output = to_array(tensors["value"]), np.where(masked, 0.0, to_array(upstream))
    with np.errstate(invalid="ignore", over="ignore"):  # of an output that is not finite: it is compared all the same
        sides = (d_value * value).sum(-2), _by_key_head(d_output * output, value).sum(-2)
    of_rows = (_by_key_head(np.abs(d_output), value) * _slack_of_rows(case, bounds, weights, value)).sum(-2)
    slack = (np.abs(value) * of_value.bound).sum(-2) / (1 - case.options["dropout"]) + of_rows
    return _compared(*sides, slack, spoilt_batches(case, policy))


def _slack_of_rows(case: Case, output: ErrorBound, weights: ErrorBound, value: Array) -> Array:
    """Return by how much two passes with one draw may differ in the output, by key head: the sum over i above."""
    form, expected = case.format, np.where(np.isnan(weights.value), 0.0, weights.value)
    per_weight = weights.bound + 4 * form.roundoff * (np.abs(expected) + weights.bound) + 4 * form.half_spacing
    per_row = _by_key_head(per_weight, value) @ np.abs(value)
    found: Array = (_by_key_head(output.bound, value) + per_row) / (1 - case.options["dropout"])
    return found


@check("behaviour.seed", is_anchor, lambda one, case: bool(_dropped(one, case)))
def seed(subject: Subject) -> Judgement:
    """Whether torch's seed fixes what dropout draws, and another seed draws otherwise."""
    case = _dropped(subject.implementation, subject.case)[0]
    bounds, weights = subject.error_bound(case)
    if weights is None:
        return finding("not measured", NO_CLAIM, False)
    value, prepared = to_array(inputs.tensors(case)["value"]), subject.prepared_for(case)
    outputs = [prepared.call(inputs.tensors(case), training=True, seed=number).output for number in (1, 1, 2)]
    rows = [_by_key_head(numbers(one, case, bounds.value.shape, "output in training"), value) for one in outputs]
    slack = 2 * _slack_of_rows(case, bounds, weights, value)
    same = [bool((np.abs(rows[0] - other) <= slack).all()) for other in rows[1:]]
    measured = "fixes the draw" if same[0] else "does not fix the draw"
    return finding(measured + ("; another one draws the same" if same[1] else ""), NO_CLAIM, False)


def _dropped(implementation: Declaration, case: Case) -> list[Case]:
    """Return the case with half of the weights dropped, if that is taken and weights meet the values directly."""
    half = replace(case, options={"dropout": 0.5})
    direct = mechanisms()[case.mechanism].weighs_directly
    return [half] if direct and takes(implementation, half) else []


def _by_key_head(array: Array, value: Array) -> Array:
    """Return (..., key heads, rows of all the heads that share one, width): heads are neighbours."""
    return array.reshape(*value.shape[:-2], -1, array.shape[-1])


def _compared(one: Array, other: Array, slack: Array, spoilt: NDArray[np.bool_]) -> Judgement:
    excused = spoilt.reshape(-1, *[1] * (one.ndim - 1)) & np.isnan(one)
    with np.errstate(invalid="ignore"):  # infinity on both sides
        error = np.where(excused, 0.0, np.abs(one - other))
    error_ratio = ratio(np.where(np.isnan(error), np.inf, error), slack)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    reason = ""
    if error_ratio[at] > 1:
        reason = f"the backward pass does not drop what the forward pass dropped: <dV, V> is {one[at]:.6g}"
        reason += f" and <dO, O> {other[at]:.6g} in column {at}, rounding allows {slack[at]:.3g}"
    return Judgement(float(error_ratio[at]), float(error[at]), at, reason)
