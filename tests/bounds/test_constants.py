"""A constant that every implementation computes for itself has room for its roundings, in float64 too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_harness.bounds import error_bounds
from attention_harness.bounds.judge import judge
from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.rounding import Model
from attention_harness.model.capabilities import Arithmetic
from attention_harness.registry import mechanisms

LENGTH, WIDTH = 1024, 64


def encoding(rate):
    """Return the positional encoding in float64 from the rates of its columns."""
    angle = np.arange(LENGTH)[:, None] * rate
    return np.where(np.arange(WIDTH) % 2, np.cos(angle), np.sin(angle))[None]


def verdict(rate):
    """Return the judgement of an encoding that is added to zeros."""
    evaluate = mechanisms()["positional_encoding"].evaluate
    bound, _ = error_bounds(evaluate, {"sequence": np.zeros((1, LENGTH, WIDTH))}, {}, "float64", Arithmetic())
    return judge(encoding(rate), bound)


def test_the_encoding_through_an_exponential_is_not_accused():
    """exp(-2i (ln(base) / E)), as it is usually written, errs by some units in the last place times the logarithm."""
    twice = np.arange(WIDTH) // 2 * 2
    assert verdict(np.exp(twice * -(math.log(10000.0) / WIDTH))).error_ratio <= 1
    assert verdict(1 / 10000.0 ** (twice / WIDTH)).error_ratio <= 1
    assert verdict(np.exp(twice * -(math.log(10000.0) / WIDTH) * (1 + 1e-13))).error_ratio > 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_what_the_dtype_holds_has_no_error_and_anything_else_has(dtype):
    """1/sqrt(64) is a power of two; 0.3 and 1/sqrt(80) are no binary fractions."""
    like = Tracked(Model.of(Arithmetic(), dtype), np.zeros(()))
    assert like.computed(np.float64(0.125), 2).bound == 0
    for constant in (0.3, 1 / math.sqrt(80)):
        assert like.computed(np.float64(constant), 2).bound > 2 * like.model.acc.roundoff * constant
