"""Drawn cases: a seed and a number make one, every one is a case like any other, and together they reach everything."""

from __future__ import annotations

import itertools

import pytest

from attention_harness.cases import ids, space
from attention_harness.execution import fuzz
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.options import OPTIONS, required
from attention_harness.registry import mechanisms

DRAWN = list(fuzz.drawn(0, 2000))


def test_the_same_seed_draws_the_same_cases():
    """Twice the same, and another seed draws others; the first of them stand here, since a resumed run needs them."""
    assert list(fuzz.drawn(7, 50)) == list(fuzz.drawn(7, 50))
    assert not set(fuzz.drawn(7, 50)) & set(fuzz.drawn(8, 50))
    assert [case.id for case in DRAWN[:3]] == [
        "dot_product-B1H2Hk2Lq41Lk42D32Dv7-float64-causal=top_left-nearly_equal-contiguous-draw515575",
        "positional_encoding-B1L2E1-float64-plain-outlier-contiguous-draw897774",
        "additive-B1H2Lq6Lk6Dq50Dk2Dv2A40-float64-mask=full-nearly_equal-contiguous-draw75548",
    ]


def test_a_longer_run_begins_with_the_shorter_one():
    """Case k does not depend on how many are drawn."""
    assert DRAWN[:60] == list(fuzz.drawn(0, 60))
    assert DRAWN[59] == fuzz.draw(0, 59)


def test_named_mechanisms_leave_the_others_out():
    """What is drawn for some mechanisms is what is drawn for all, without the others, and as many as asked for."""
    names = ("cosine", "location")
    found = list(fuzz.drawn(0, 40, names))
    assert len(found) == 40
    assert found == list(itertools.islice((case for case in DRAWN if case.mechanism in names), 40))


def test_a_mechanism_that_does_not_exist_is_refused():
    """With the nearest name."""
    with pytest.raises(HarnessError, match="Did you mean 'cosine'"):
        next(fuzz.drawn(0, 1, ("cosin",)))


def test_every_case_parses_back():
    """Every drawn case is one that `--case` takes, and no two are the same."""
    assert DRAWN == [ids.parse(case.id) for case in DRAWN]
    assert len(DRAWN) == len(set(DRAWN))


def test_everything_is_reached():
    """2,000 cases hold every variant, dtype, option and form of the matrix, content and layout, and empty lengths."""
    asked = {
        (case.mechanism, *(case.options.get(name) for name in mechanisms()[case.mechanism].choices)) for case in DRAWN
    }
    assert asked == {(variant.mechanism.name, *variant.choices.values()) for variant in space.variants()}
    assert {case.dtype for case in DRAWN} == set(DTYPES)
    options = {option for case in DRAWN for option in required(case)}
    assert options == {option for known in mechanisms().values() for option in known.options}
    for option in OPTIONS.values():
        if option.of_sizes is None:
            assert {case.options.get(option.name) for case in DRAWN} >= {None, *option.forms, *option.more_forms}
    assert {case.content for case in DRAWN} == set(space.factors()["content"])
    assert {case.layout for case in DRAWN} == set(space.factors()["layout"])
    assert {axis for case in DRAWN for axis, n in case.sizes.items() if n == 0} == set(space.MAY_BE_EMPTY)


def test_cases_stay_small():
    """Most lengths are below ten, both sides of the blocks occur, none is beyond 70, in half precision beyond 33."""
    lengths = [case.sizes[axis] for case in DRAWN for axis in ("Lq", "Lk") if axis in case.sizes]
    assert sum(length < 10 for length in lengths) > len(lengths) / 2
    assert {15, 16, 17, 31, 32, 33, 63, 64, 65} <= set(lengths)
    assert max(lengths) <= 70
    half = [case for case in DRAWN if not case.format.single]
    assert max(case.sizes.get(axis, 0) for case in half for axis in ("Lq", "Lk", "L", "P")) <= 33
