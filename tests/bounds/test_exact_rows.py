"""Where sums are exact in every order the bound is zero: proven from the numbers, at any length, in every dtype."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.bounds import error_bounds
from attention_harness.bounds.rounding import representable
from attention_harness.cases.ids import parse
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES
from attention_harness.mutation.campaign import select
from attention_harness.registry import mechanisms

LONG = "scaled_dot_product-B2H2Hk2Lq2Lk{}D8Dv6-bfloat16-plain-exact-contiguous"


def bounds(keys, dtype="bfloat16", arithmetic=None, query=0.0, values=None, **options):
    """Return the bounds of two queries over so many keys whose values are whole numbers."""
    rng = np.random.default_rng(keys)
    value = rng.integers(-2, 3, (1, 1, keys, 3)).astype(float) if values is None else values
    tensors = {"query": np.full((1, 1, 2, 4), query), "key": rng.normal(size=(1, 1, keys, 4)), "value": value}
    arithmetic = arithmetic or Arithmetic()
    return error_bounds(mechanisms()["scaled_dot_product"].evaluate, tensors, options, dtype, arithmetic)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keys", [1, 2, 64, 2048])
def test_two_to_the_k_equal_keys_are_exact(dtype, keys):
    """Output and weights, wherever the dtype has the number: everything within 8 bits here."""
    output, weights = bounds(keys, dtype)
    held = representable(output.value, DTYPES[dtype])
    assert held.all()
    assert not output.bound.any()
    assert not weights.bound.any()
    assert np.array_equal(weights.value, np.full((1, 1, 2, keys), 1 / keys))


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": 63},  # 1/63 is rounded
        {"query": 0.5},  # scores that are not 0
        {"values": np.full((1, 1, 64, 3), 0.3)},  # values that are no whole numbers
        {"values": np.full((1, 1, 64, 3), 2.0**20)},  # sums that float32 rounds
        {"arithmetic": Arithmetic(split_keys=True)},  # exp(log 2^k) is not 2^k
        {"keys": 256, "arithmetic": Arithmetic(accumulator="bfloat16")},  # sums past 256
        {"bias": np.full((1, 1, 2, 64), 0.1)},
    ],
    ids=str,
)
def test_what_is_not_exact_keeps_its_bound(changes):
    """Each premise is needed."""
    output, _ = bounds(**({"keys": 64} | changes))
    assert (output.bound > 0).any()


def test_masks_that_leave_a_power_of_two_are_exact_row_by_row():
    """A causal row sees 1, 2, 3, 4 keys: three of the four are exact."""
    value = np.arange(12.0).reshape(1, 1, 4, 3)
    tensors = {"query": np.zeros((1, 1, 4, 2)), "key": np.ones((1, 1, 4, 2)), "value": value}
    evaluate = mechanisms()["scaled_dot_product"].evaluate
    output, _ = error_bounds(evaluate, tensors, {"causal": "top_left"}, "float32", Arithmetic())
    assert [True, True, False, True] == [not row.any() for row in output.bound[0, 0]]


def test_an_output_between_two_numbers_may_be_rounded():
    """257/2 has nine digits: bfloat16 rounds it, and an error of a rounding is allowed."""
    value = np.array([255.0, 2.0]).reshape(1, 1, 2, 1)
    output, _ = bounds(2, values=np.repeat(value, 3, -1))
    assert not representable(np.array(128.5), DTYPES["bfloat16"])
    assert (output.bound > 0).all()
    assert (output.bound < 1).all()


def accuracy(patched, case):
    """Return the verdict on the output."""
    return next(one for one in run_checks(plan_item(patched.implementation(), case)) if one.check == "accuracy")


@pytest.mark.parametrize("keys", [512, 2048])
def test_a_key_that_is_dropped_is_seen_in_bfloat16(keys):
    """One of 2,048 keys, which is far inside the bound of most numbers; kernels of other kinds are not accused."""
    [[dropped], sound] = select(
        ["last key dropped from 2,048 keys on in half precision", "divided last", "base two, divided last"]
    )
    case = parse(LONG.format(keys))
    assert (accuracy(dropped, case).status == "fail") is (keys >= 2048)
    assert {"pass"} == {accuracy(one, case).status.value for one in sound}
