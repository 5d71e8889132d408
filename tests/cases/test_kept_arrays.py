"""The kept covering arrays are those that would be found now."""

from __future__ import annotations

import pytest

from attention_harness.cases import covering
from attention_harness.cases.cases import TIERS, arrays, matrix, variants

ARRAYS = {array[0]["variant"][0].name if len(array[0]["variant"]) == 1 else "all": array for array in arrays()}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_is_kept(name):
    """A changed factor, mechanism or constraint shows: `python -m attention_harness.cases.covering` mends it."""
    assert covering.question(*ARRAYS[name]) in covering._kept()


@pytest.mark.parametrize("name", ["positional_encoding", "masked_softmax"])
def test_it_is_what_the_library_finds(name):
    """Row by row, in the same order: the order gives the seeds."""
    assert covering.made(*ARRAYS[name]) == covering.rows(*ARRAYS[name])


def test_what_is_kept_answers_its_own_question_alone():
    """Other levels, another order of them, or another constraint is another question."""
    factors, constraints = ARRAYS["masked_softmax"]
    asked = covering.question(factors, constraints)
    fewer = factors | {"dtype": factors["dtype"][:2]}
    turned = factors | {"dtype": factors["dtype"][::-1]}
    freer = [(pair, lambda *_: True) for pair, _ in constraints]
    others = [(fewer, constraints), (turned, constraints), (factors, freer), (factors, constraints[1:])]
    assert len({asked, *(covering.question(*other) for other in others)}) == 1 + len(others)


def test_what_is_not_kept_is_found_anew(monkeypatch):
    """Without the file the same cases come out."""
    factors, constraints = ARRAYS["positional_encoding"]
    kept = covering.rows(factors, constraints)
    monkeypatch.setattr(covering, "_kept", dict)
    assert kept == covering.rows(factors, constraints)


def test_the_tiers_ask_the_library_nothing(monkeypatch):
    """A command does not wait for it."""
    monkeypatch.setattr(covering, "made", None)
    for tier in TIERS:
        assert len(matrix.__wrapped__(tier)) > len(variants())
