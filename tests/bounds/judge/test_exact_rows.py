"""An answer that has to be exact and is rounded: the failure says what to declare where keys are merged in parts."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.bounds import error_bounds
from attention_harness.bounds.judge import judge
from attention_harness.model.capabilities import Arithmetic
from attention_harness.registry import mechanisms


def judged(error: float, visible: bool = True) -> str:
    """Return the reason for an error in a row of four equal scores over whole numbers, or in one that sees no key."""
    given = {"query": np.zeros((1, 1, 2, 4)), "key": np.zeros((1, 1, 4, 4)), "value": np.ones((1, 1, 4, 3))}
    mask = np.array([[[[visible] * 4, [True] * 4]]])
    evaluate = mechanisms()["scaled_dot_product"].evaluate
    bound, _ = error_bounds(evaluate, given, {"mask": mask}, "float32", Arithmetic())
    output = bound.value.copy()
    output[0, 0, 0, 0] += error
    return judge(output, bound).reason


def test_a_rounding_where_none_can_be_names_the_declaration():
    """It is no fault of the sum if keys were merged by their log-sum-exp."""
    assert "declare Arithmetic(split_keys=True)" in judged(2.0**-24)


@pytest.mark.parametrize(("error", "visible"), [(0.5, True), (2.0**-24, False)], ids=["no rounding", "no key"])
def test_anything_else_does_not(error, visible):
    """A larger error, or one in a row that sees no key, has another cause."""
    assert "exceeds its error bound" in judged(error, visible)
    assert "split_keys" not in judged(error, visible)
