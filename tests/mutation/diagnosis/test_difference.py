"""How far an output is from a hypothesis: numbers that the hypothesis does not give are told apart from it."""

from __future__ import annotations

import numpy as np

from attention_harness.cases.ids import parse
from attention_harness.checks.expected import bound_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.diagnosis.difference import distance

CASE = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous")


def error_ratio(numbers, hypothesis) -> float:
    error_bound = bound_of(CASE, Arithmetic(), "zero")[0]
    return distance(numbers, hypothesis, error_bound, error_bound, CASE)


def test_the_hypothesis_itself_and_its_rounding_agree():
    """A wrong output agrees with the hypothesis that gives it, also when both are rounded."""
    error_bound = bound_of(CASE, Arithmetic(), "zero")[0]
    wrong = error_bound.value * 1.5
    assert error_ratio(wrong, wrong) == 0
    assert error_ratio(wrong + error_bound.bound / 4, wrong) <= 1


def test_another_error_of_the_same_size_does_not_agree():
    """Shifted rows, another factor, the right answer: each is far from what the hypothesis gives."""
    error_bound = bound_of(CASE, Arithmetic(), "zero")[0]
    wrong = error_bound.value * 1.5
    for other in (np.roll(wrong, 1, axis=-2), error_bound.value * 1.4, error_bound.value):
        assert error_ratio(other, wrong) > 10


def test_one_element_apart_is_enough():
    """What the mutant leaves alone is held to the case's own bound there."""
    error_bound = bound_of(CASE, Arithmetic(), "zero")[0]
    mutant = error_bound.value.copy()
    mutant[..., 0] += 1.0
    moved = mutant.copy()
    moved[0, 0, 0, 3] += 5 * error_bound.bound[0, 0, 0, 3]
    assert error_ratio(mutant, mutant) == 0
    assert error_ratio(moved, mutant) > 1
