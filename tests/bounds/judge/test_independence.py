"""Errors of scores move all elements of a row together: a row over few keys is worth few independent errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.independence import independent_errors
from attention_harness.bounds.judge import judge
from attention_harness.cases.ids import parse
from attention_harness.checks.expected import bound_of
from attention_harness.mutation.patched import eager

DRAWS, WIDTH = 4000, 32


@pytest.mark.parametrize("rank", [1, WIDTH], ids=["values of one direction", "of all"])
@pytest.mark.parametrize("keys", [2, 3, 5, 40])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("by", ["scores", "stored weights"])
def test_the_mean_square_varies_as_much_as_is_said(by, share, keys, rank):
    """Of drawn errors: the variance of a row's mean square of z is 2 over what the row is worth, to a factor of 2.5."""
    rng = np.random.default_rng(keys)
    p = rng.dirichlet(np.ones(keys))[None]
    values = rng.normal(size=(keys, rank)) @ rng.normal(size=(rank, WIDTH))
    out = p @ values
    moved = p.T * (values - (out if by == "scores" else 0.0))  # by an error of one in a key's log-weight
    variances, nothing = (moved**2).sum(0), np.zeros((1, keys))
    rounding = (1 - share) * variances
    whole = share * variances + rounding
    errors = (share * p**2, nothing) if by == "scores" else (nothing, share * p**2)
    worth = float(independent_errors(*errors, np.zeros((1, 1)), values, out, whole[None])[0])
    drawn = np.sqrt(share) * rng.normal(size=(DRAWS, keys)) @ moved
    drawn = drawn + rng.normal(size=(DRAWS, WIDTH)) * np.sqrt(rounding)
    mean_square = (drawn**2 / whole).mean(-1)
    assert 0.4 <= worth * mean_square.var() / 2 <= 2.5, (worth, 2 / mean_square.var())
    assert 1 <= worth <= WIDTH


def test_a_factor_that_a_row_shares_is_one_error():
    """Where the normaliser errs most, all elements of a row err alike."""
    out = np.ones((1, WIDTH))
    nothing = np.zeros((1, 3))
    worth = independent_errors(nothing, nothing, np.ones((1, 1)), np.ones((3, WIDTH)), out, out)
    assert worth == pytest.approx([1.0], rel=0.1)


def test_rows_that_say_little_have_a_wider_limit():
    """Errors of 1.5 deviations in 14 rows of 32 elements: too many if independent, not if two directions a row."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=(14, WIDTH))
    wide, one = np.full(value.shape, 1e3), np.ones(value.shape)
    bound = ErrorBound(value, wide, one, np.ones(14, bool), None, "", np.arange(14.0), np.full(14, float(WIDTH)))
    output = value + 1.5 * rng.choice([-1.0, 1.0], value.shape)
    assert "root mean square" in judge(output, bound).reason
    assert not judge(output, replace(bound, independent=np.full(14, 2.0))).reason


def test_long_rows_are_worth_nearly_all_their_elements():
    """The usual case keeps its limit: half of a row's elements and more where many keys are seen."""
    declared = eager().capabilities
    case = parse("scaled_dot_product-B2H4Hk4Lq33Lk129D16Dv16-float32-plain-ordinary-contiguous")
    error_bound, _ = bound_of(case, declared.arithmetic, declared.policy)
    assert error_bound.independent is not None
    assert np.median(error_bound.independent) > 8
