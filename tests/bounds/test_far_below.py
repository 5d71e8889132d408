"""Numbers so small that their error's square is none: a statistic over them has room, and sees what it can."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness import registry
from attention_harness.bounds.error_bound import error_bounds
from attention_harness.bounds.judge import judge
from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.softmax import Weights
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.checks.expected import bound_of
from attention_harness.execution import in_process
from attention_harness.model.capabilities import Arithmetic

SCORES = {"both": np.array([[[0.0, -390.0, -700.0], [-1.0, 0.0, -380.0]]])}


def softmax(both: Tracked):
    """Return the weights of scores that are given, as output and as weights."""
    weights = Weights(both, np.ones(both.shape, bool), "zero")
    return weights, weights


@pytest.mark.parametrize("relative", [2.0**-53, -(2.0**-53)])
def test_weights_of_float64_far_below(relative):
    """exp(-390) errs by some 1e-186, whose square float64 does not hold."""
    bound, _ = error_bounds(softmax, SCORES, {}, "float64", Arithmetic())
    judged = judge(bound.value * (1 + relative), bound)
    assert not judged.reason, judged
    assert np.isfinite(judged.error_ratio)
    assert "exceeds its error bound" in judge(bound.value * (1 + 2.0**-30), bound).reason


def test_values_whose_weights_all_lie_far_below():
    """Beside sinks all keys of a row may weigh nothing: their sum errs by what the scores err, as it does elsewhere."""
    declared = registry.imported(registry.source("eager", ()))
    case = parse("dot_product-B2H2Hk2Lq5Lk7D64Dv8-float64-alibi=full+sinks=ordinary-sunken-columns")
    judged = BY_NAME["accuracy"].judge(in_process.subject(declared, case))
    assert not judged.reason, judged
    bound, _ = bound_of(case, declared.capabilities.arithmetic, declared.capabilities.policy)
    assert 0 < bound.value[0, 1, 4, 4] < 1e-200
    assert bound.bound[0, 1, 4, 4] < 1e-10 * bound.value[0, 1, 4, 4]


def test_products_that_are_flushed_to_zero():
    """Beside a large sink, weights times values near the smallest normal number lie below it: oneDNN makes them 0."""
    declared = registry.imported(registry.source("eager", ()))
    case = parse("cosine-B3H2Hk2Lq16Lk17D5Dv32-bfloat16-sinks=large-both_ends-stepped")
    bound, _ = bound_of(case, declared.capabilities.arithmetic, declared.capabilities.policy)
    kept = np.where(np.abs(bound.value) < 2.0**-120, bound.value * 0.75, bound.value)
    assert (kept != bound.value).any()
    judged = judge(kept, bound)
    assert not judged.reason, judged
    assert "exceeds its error bound" in judge(bound.value * 1.5, bound).reason
