"""Where one key decides a row, its score's error cancels: huge scores say something of the others."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.rounding import Model
from attention_harness.bounds.softmax import Weights
from attention_harness.model.capabilities import Arithmetic

VALUES = np.array([[[3.0], [5.0], [7.0]]])
SEEN = np.ones((1, 1, 3), bool)


def attended(scores: list[float], error: float, dtype: str = "float32"):
    """Return weights and output, with bounds, of three scores of which each may err by so much."""
    model = Model.of(Arithmetic(), dtype)
    tracked = Tracked(model, np.array([[scores]]), np.full((1, 1, 3), error), np.zeros((1, 1, 3)))
    weights = Weights(tracked, SEEN, "zero")
    return weights, weights @ Tracked(model, VALUES)


def perturbed(scores: list[float], error: float):
    """Yield output and weights under errors of each score, to either side."""
    for signs in np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).T.reshape(-1, 3):
        moved = np.array(scores) + error * signs
        weights = np.exp(moved - moved.max())
        weights /= weights.sum()
        yield weights @ VALUES[0], weights


def test_a_row_that_one_key_decides_is_known():
    """Scores that err by 100 and lie 1,000 apart: the weights are 1 and 0."""
    weights, output = attended([-7e6, -7.001e6, -7.002e6], 100)
    assert output.bound.max() < 1e-5
    assert weights.bound.max() < 1e-5


@pytest.mark.parametrize(
    ("scores", "error"),
    [
        ([0.0, -1.0, -2.0], 0.1),
        ([0.0, -5.0, -6.0], 2.0),
        ([0.0, -30.0, -3.0], 10.0),
        ([-1e4, -1.01e4, -1.5e4], 60.0),  # the first two may change places
        ([-1e4, -1.01e4, -3e4], 49.0),
        ([-1e6, -1.002e6, -1.004e6], 990.0),
        ([0.0, 0.0, -1e6], 1e6),
    ],
)
def test_no_error_of_the_scores_leaves_the_bounds(scores, error):
    """Each score errs to either side; the exact result is known in float64."""
    weights, output = attended(scores, error)
    for moved, moved_weights in perturbed(scores, error):
        assert (np.abs(moved - output.value[0, 0]) <= output.bound[0, 0]).all()
        assert (np.abs(moved_weights - weights.value[0, 0]) <= weights.bound[0, 0]).all()


def test_weights_that_are_computed_again_err_by_their_own_score():
    """exp(s - lse) in a backward pass: no error of s cancels there, not even of the only key."""
    weights, _ = attended([-7e6, -7.001e6, -7.002e6], 2.0)
    assert weights.factor.bound[0, 0, 0] > np.expm1(2.0)
