"""A small defect in an otherwise right output, or a small mistake in the formula, is always detected."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from attention_harness.bounds.error_bound import ErrorBound
from attention_harness.bounds.judge import judge, limits_of
from attention_harness.cases.matrix import matrix
from attention_harness.checks.expected import bound_of
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.mutation.campaign import select

PLAIN = [
    case
    for case in matrix("default")
    if case.content == "ordinary" and case.draw == 0 and min(case.sizes.values()) > 1 and case.dtype != "bfloat16"
]
PAIRWISE = [
    Case("scaled_dot_product", {"B": 2, "H": 3, "Hk": 3, "Lq": 33, "Lk": 65, "D": 16, "Dv": 16}, dtype)
    for dtype in ("float64", "float32")
]


def exact_output(case: Case) -> tuple[np.ndarray, object]:
    """Return the reference output as a perfect implementation would hand it out, and its error bound."""
    error_bound = bound_of(case, Arithmetic(), "zero")[0]
    return error_bound.value.copy(), error_bound


def nudge(output, error_bound):
    """Move one element by three times its error bound."""
    where = tuple(n // 2 for n in output.shape)
    output[where] += 3 * error_bound.bound[where] or 5e-324  # a fully masked row is exactly 0


def one_nan(output, error_bound):
    """Make one element NaN."""
    output.flat[output.size // 2] = math.nan


def one_infinite(output, error_bound):
    """Make one element infinite."""
    output.flat[-1] = math.inf


def swap_rows(output, error_bound):
    """Exchange two queries' answers."""
    output[..., [0, 1], :] = output[..., [1, 0], :]


def shift_columns(output, error_bound):
    """Rotate the value columns by one."""
    output[...] = np.roll(output, 1, -1)


@pytest.mark.parametrize("damage", [nudge, one_nan, one_infinite, swap_rows, shift_columns])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_one_defect_is_seen(damage, case):
    """The reference output with a single defect is rejected; without it, it passes."""
    output, error_bound = exact_output(case)
    assert judge(output, error_bound).reason == ""
    damage(output, error_bound)
    assert judge(output, error_bound).reason != ""


def test_a_wrong_shape_is_seen():
    """An output that would only broadcast to the right shape is rejected."""
    output, error_bound = exact_output(PAIRWISE[0])
    assert "shape" in judge(output[:1], error_bound).reason


_FINISHED = "    s, v = finished(scores, **visibility), wide(value)\n"
MISTAKES = {
    "scale by 1 + 1e-4": (_FINISHED, _FINISHED + "    s = s * (1 + 1e-4)\n"),
    "log2(e) = 1.4427": (_FINISHED, _FINISHED + f"    s = s * {1.4427 * math.log(2)}\n"),
    "eps 1e-5 in the denominator": ("output = weights @ v / total", "output = weights @ v / (total + 1e-5)"),
    "last key dropped": (_FINISHED, _FINISHED + "    s, v = s[..., :-1], v[..., :-1, :]\n"),
    "first key counted twice": (
        _FINISHED,
        _FINISHED + "    s, v = torch.cat([s, s[..., :1]], -1), torch.cat([v, v[..., :1, :]], -2)\n",
    ),
    "weights in float16": ("output = weights @ v / total", "output = (weights / total).half().to(v.dtype) @ v"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("case", PAIRWISE, ids=str)
def test_a_small_mistake_is_seen(mistake, case):
    """A fused kernel with a mistake of a few units in 1e5 is rejected; without the mistake it is not."""
    [[], [sound]] = select(["divided last"])
    assert accuracy(sound.implementation(), case).status == "pass"
    verdict = accuracy(replace(sound, patches=(*sound.patches, MISTAKES[mistake])).implementation(), case)
    assert verdict.status == "fail", (verdict.error_ratio, verdict.reason)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("side", ["up or down", "towards or away from zero"])
def test_errors_to_one_side_are_seen(side, sign):
    """Half a deviation in every element passes with signs at random, and does not where all err to the same side."""
    output, error_bound = exact_output(PAIRWISE[1])
    draw = np.random.default_rng(0).choice([-1.0, 1.0], output.shape)
    assert judge(output + draw * error_bound.deviation / 2, error_bound).reason == ""
    towards = sign if side == "up or down" else sign * np.sign(output)
    assert side in judge(output + towards * error_bound.deviation / 2, error_bound).reason


@pytest.mark.parametrize(("kinds", "bias_is_asked"), [(384, True), (16, True), (4, False)])
def test_rows_with_the_same_weights_are_one(kinds, bias_is_asked):
    """384 rows say no more of roundings than the unlike ones among them."""
    value = np.random.default_rng(0).normal(size=(384, 16))
    small, weighing = np.full(value.shape, 1e-3), np.arange(384.0) % kinds
    rows = np.ones(384, bool)
    bound = ErrorBound(value, 1e3 * small, small, rows, None, weighing=weighing, independent=np.full(384, 16.0))
    limits = limits_of(bound, rows, False)
    assert math.isfinite(limits.bias) == bias_is_asked
    assert limits.bias == (pytest.approx(0.2 + 4 / math.sqrt(kinds)) if bias_is_asked else math.inf)


def test_a_kind_of_row_that_fills_a_problem_counts_little():
    """One odd row beside 383 that are alike is no second opinion."""
    rows, nothing = np.ones(384, bool), np.zeros((384, 16))
    for odd, asked in ((1, False), (383, True)):
        weighing = np.r_[np.arange(1.0, odd + 1), np.zeros(384 - odd)]
        bound = ErrorBound(nothing, nothing, nothing, rows, None, weighing=weighing, independent=np.full(384, 16.0))
        assert math.isfinite(limits_of(bound, rows, False).bias) == asked


def accuracy(implementation, case):
    """Return the verdict on the output."""
    item = plan_item(implementation, case)
    return next(verdict for verdict in run_checks(item) if verdict.check == "accuracy")
