"""No case of the default matrix leaves its dtype's range; some rows see nothing, most see something."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.bounds import ErrorBound
from attention_harness.cases.matrix import matrix
from attention_harness.checks.expected import bound_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case


@pytest.fixture(scope="module")
def error_bounds() -> dict[Case, tuple[ErrorBound, ErrorBound | None]]:
    """Return the error bounds of output and weights of every case: worked out once, they take seconds."""
    return {case: bound_of(case, Arithmetic(), "zero") for case in matrix("default")}


def test_no_case_overflows(error_bounds):
    """By its error bound's own account no case leaves the range of its dtype."""
    every = [
        (case.id, error_bound) for case, pair in error_bounds.items() for error_bound in pair if error_bound is not None
    ]
    assert {name: error_bound.overflow for name, error_bound in every if error_bound.overflow} == {}


def test_values_and_bounds_are_numbers(error_bounds):
    """The expected output and its bound are finite, and the bound allows some rounding of what has many digits."""
    for case, (output, _) in error_bounds.items():
        assert np.isfinite(output.value).all(), case.id
        assert np.isfinite(output.bound).all(), case.id
        with np.errstate(over="ignore"):
            many_digits = output.value != output.value.astype(np.float16)
        assert (output.bound[many_digits] > 0).all(), case.id


def test_some_rows_are_empty_and_most_are_not(error_bounds):
    """There are outputs with and without rows that see no key, and outputs of both kinds of row."""
    empty = [output.empty for output, _ in error_bounds.values()]
    assert any(rows is not None and np.any(rows) and not np.all(rows) for rows in empty)
    asked = {case: output for case, (output, _) in error_bounds.items() if min(case.sizes.values()) > 0}
    assert 0.9 * len(asked) <= sum(np.any(output.value) for output in asked.values())
