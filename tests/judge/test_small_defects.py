"""A small defect in an otherwise right output, or a small mistake in the formula, is always detected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.cases import matrix
from harness.checks.subject import budget_of
from harness.judge import judge
from harness.values import Arithmetic, Case
from tests.judge.variants import FUSED, implementation, online

PLAIN = [
    case
    for case in matrix("default")
    if case.content == "ordinary" and case.seed == 0 and min(case.sizes.values()) > 1 and case.dtype != "bfloat16"
]
PAIRWISE = [
    Case("scaled_dot_product", {"B": 2, "H": 3, "Hk": 3, "Lq": 33, "Lk": 65, "D": 16, "Dv": 16}, dtype)
    for dtype in ("float64", "float32")
]


def exact_output(case: Case) -> tuple[np.ndarray, object]:
    """Return the reference output as a perfect implementation would hand it out, and its budget."""
    budget = budget_of(case, Arithmetic(), "zero")[0]
    return budget.value.copy(), budget


def nudge(output, budget):
    """Move one element by three times its budget."""
    where = tuple(n // 2 for n in output.shape)
    output[where] += 3 * budget.bound[where]


def one_nan(output, budget):
    """Make one element NaN."""
    output.flat[output.size // 2] = math.nan


def one_infinite(output, budget):
    """Make one element infinite."""
    output.flat[-1] = math.inf


def swap_rows(output, budget):
    """Exchange two queries' answers."""
    output[..., [0, 1], :] = output[..., [1, 0], :]


def shift_columns(output, budget):
    """Rotate the value columns by one."""
    output[...] = np.roll(output, 1, -1)


@pytest.mark.parametrize("damage", [nudge, one_nan, one_infinite, swap_rows, shift_columns])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_one_defect_is_seen(damage, case):
    """The reference output with a single defect is rejected; without it, it passes."""
    output, budget = exact_output(case)
    assert judge(output, budget).reason == ""
    damage(output, budget)
    assert judge(output, budget).reason != ""


def test_a_wrong_shape_is_seen():
    """An output that would only broadcast to the right shape is rejected."""
    output, budget = exact_output(PAIRWISE[0])
    assert "shape" in judge(output[:1], budget).reason


def scaled(factor):
    """The scores scaled by a factor near 1."""
    return lambda scores, value, visible: online(scores * factor, value, visible)


def eps_in_denominator(eps):
    """A small number added to the softmax's sum."""

    def attend(scores, value, visible):
        peak = scores.amax(-1, keepdim=True)
        weights = (scores - peak).exp().masked_fill(~visible, 0.0)
        return weights @ value / (weights.sum(-1, keepdim=True) + eps)

    return attend


def drop_key(scores, value, visible):
    """The last key left out."""
    return online(scores[..., :-1], value[..., :-1, :], visible[..., :-1])


def count_twice(scores, value, visible):
    """The first key counted twice."""
    twice = [torch_cat(x, axis) for x, axis in ((scores, -1), (value, -2), (visible, -1))]
    return online(*twice)


def torch_cat(x, axis):
    """Return x with its first entry along an axis repeated at the end."""
    import torch

    return torch.cat([x, x.narrow(axis, 0, 1)], axis)


def half_precision_weights(scores, value, visible):
    """Weights rounded to float16 on the way."""
    return online(scores, value, visible) + (scores.softmax(-1).half().to(value.dtype) - scores.softmax(-1)) @ value


MISTAKES = {
    "scale by 1 + 1e-4": scaled(1 + 1e-4),
    "log2(e) = 1.4427": scaled(1.4427 * math.log(2)),
    "eps 1e-5 in the denominator": eps_in_denominator(1e-5),
    "last key dropped": drop_key,
    "first key counted twice": count_twice,
    "weights in float16": half_precision_weights,
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("case", PAIRWISE, ids=str)
def test_a_small_mistake_is_seen(mistake, case):
    """A fused kernel with a mistake of a few units in 1e5 is rejected, in float64 and float32."""
    from harness import conformance

    wrong = implementation("wrong", MISTAKES[mistake], FUSED)
    [item] = conformance.plan([wrong], [case])
    verdict = next(verdict for verdict in conformance.run(item) if verdict.check == "accuracy")
    assert verdict.status == "fail", (verdict.share, verdict.reason)
