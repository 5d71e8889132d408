"""A number beyond a format's range is remembered, whichever operand of a step it is."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.rounding import Model
from attention_harness.cases.ids import parse
from attention_harness.checks.gradients import first_bounds
from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.patched import eager

MODEL = Model.of(Arithmetic(), "float16")
STEPS = {
    "sum": lambda one, other: one + other,
    "difference": lambda one, other: one - other,
    "product": lambda one, other: one * other,
    "quotient": lambda one, other: one / (other + 1.0),
    "matrix product": lambda one, other: one @ other,
    "layer": lambda one, other: Tracked.linear((one,), other, None),
    "layer of two parts": lambda one, other: Tracked.linear((one, other), Tracked(MODEL, np.zeros((2, 4))), None),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("beyond", [0, 1, None])
def test_a_step_with_an_operand_out_of_range(step, beyond):
    """Of either operand, where the result itself has a number again; and of none."""
    zero, huge = Tracked(MODEL, np.zeros((2, 2))), Tracked(MODEL, np.full((2, 2), 7e4)) * 0.0
    assert huge.overflows
    assert not zero.overflows
    assert not huge.value.any()
    operands = [huge if place == beyond else zero for place in range(2)]
    assert STEPS[step](*operands).overflows == (beyond is not None)


def test_the_gradient_of_an_absorbed_projection():
    """Of W_k: Q^T (S C) goes by a product of scores' gradients and latents that float16 has no number for."""
    declared = eager().capabilities
    case = parse("latent_attention-B2H3Lq5Lk7D8Dv6C8R6-float16-plain-unlike-contiguous")
    bounds = first_bounds(case, declared.arithmetic, declared.policy)
    assert bounds["W_k"].overflow
    assert not bounds["W_v"].overflow
