"""A narrow declaration gets cases of its own: declared, enough of them, and stable as the matrix grows."""

from __future__ import annotations

import itertools

import pytest

from attention_harness.cases import narrow
from attention_harness.cases.coverage import Coverage
from attention_harness.cases.matrix import matrix
from attention_harness.cases.narrow import cases_for
from attention_harness.model.capabilities import Capabilities
from attention_harness.registry import refuses

NARROW = {
    "one option": Capabilities(("scaled_dot_product",), options=("mask",)),
    "half precision alone": Capabilities(("multi_head",), dtypes=("bfloat16",), options=("causal_top_left", "bias")),
    "two dtypes, grouped": Capabilities(("cosine",), ("float16", "float64"), options=("grouped_heads", "window")),
}
DTYPES = ("float64", "float32", "bfloat16", "float16")
WIDE = Capabilities(("location",), DTYPES, options=("mask", "bias", "valid_lens"))


@pytest.mark.parametrize("name", NARROW)
def test_every_pair_that_is_declared_is_covered(name):
    """With the cases of the shared matrix that it takes: every wanted pair whose levels are all declared."""
    declared = NARROW[name]
    cases = cases_for(declared)
    assert cases
    assert [] == [case.id for case in cases if refuses(declared, case)]
    coverage = Coverage("thorough")
    taken = [case for case in matrix("default") if not refuses(declared, case)]
    possible = set().union(*(coverage.covered(case) for case in matrix("thorough") if not refuses(declared, case)))
    covered = set().union(*(coverage.covered(case) for case in itertools.chain(taken, cases)))
    assert set() == possible - covered


def test_a_declaration_that_the_matrix_serves_gets_none():
    """Most of its mechanism's cases are taken already."""
    assert () == cases_for(WIDE)


@pytest.mark.parametrize("name", NARROW)
def test_a_longer_list_changes_none_of_them(name, monkeypatch):
    """Without the last rows of the thorough list the cases are the same, as far as they go."""
    whole, shorter = cases_for(NARROW[name]), matrix("thorough")[:-60]
    monkeypatch.setattr(narrow, "matrix", lambda tier: shorter if tier == "thorough" else matrix(tier))
    before = cases_for.__wrapped__(NARROW[name])
    assert list(before) == list(whole[: len(before)])
