"""No case of the default matrix leaves its dtype's range; some rows see nothing, most see something."""

from __future__ import annotations

import numpy as np
import pytest
from attention_harness.bounds import Budget
from attention_harness.cases.cases import matrix
from attention_harness.checks.subject import budget_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case


@pytest.fixture(scope="module")
def budgets() -> dict[Case, tuple[Budget, Budget | None]]:
    """Return the budgets of output and weights of every case: worked out once, they take seconds."""
    return {case: budget_of(case, Arithmetic(), "zero") for case in matrix("default")}


def test_no_case_overflows(budgets):
    """By its budget's own account no case leaves the range of its dtype."""
    every = [(case.id, budget) for case, pair in budgets.items() for budget in pair if budget is not None]
    assert {name: budget.overflow for name, budget in every if budget.overflow} == {}


def test_values_and_bounds_are_numbers(budgets):
    """The expected output and its bound are finite, and the bound allows some rounding wherever there is a value."""
    for case, (output, _) in budgets.items():
        assert np.isfinite(output.value).all(), case.id
        assert np.isfinite(output.bound).all(), case.id
        assert (output.bound[output.value != 0] > 0).all(), case.id


def test_some_rows_are_empty_and_most_are_not(budgets):
    """There are outputs with and without rows that see no key, and outputs of both kinds of row."""
    empty = [output.empty for output, _ in budgets.values()]
    assert any(rows is not None and np.any(rows) and not np.all(rows) for rows in empty)
    asked = {case: output for case, (output, _) in budgets.items() if min(case.sizes.values()) > 0}
    assert 0.9 * len(asked) <= sum(np.any(output.value) for output in asked.values())
