"""Drawn cases: a seed and a number make one, every one is a case like any other, and together they reach everything."""

from __future__ import annotations

import functools
import itertools

import pytest

from attention_harness.cases import random, space
from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.ids import parse
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS, required
from attention_harness.registry import mechanisms, refuses


@pytest.fixture(scope="module")
def strategy():
    """Return the strategy of all cases."""
    return random.cases_of()


@pytest.fixture(scope="module")
def case_of(strategy):
    """Return the function that draws a numbered case of seed 0, once."""
    return functools.cache(functools.partial(random.draw, strategy, 0))


@pytest.fixture
def drawn(case_of):
    """Return the first cases of seed 0."""
    return list(map(case_of, range(1000)))


def test_a_seed_and_a_number_make_a_case(strategy):
    """Twice the same, whatever was drawn before it; another seed draws others."""
    drawn = [random.draw(strategy, 0, k) for k in range(50)]
    assert drawn[49] == random.draw(random.cases_of(), 0, 49)
    assert not set(drawn) & {random.draw(strategy, 1, k) for k in range(50)}


def test_every_case_parses_back(drawn):
    """Every drawn case is one that `--case` takes, and hardly any is drawn twice."""
    assert drawn == [parse(case.id) for case in drawn]
    assert len(set(drawn)) > 0.98 * len(drawn)


def test_everything_is_reached(drawn):
    """Every variant, dtype, option and form of the matrix, content and layout, and empty lengths."""
    assert {space.variant_of(case) for case in drawn} == {variant.name for variant in space.variants()}
    assert {case.dtype for case in drawn} == set(DTYPES)
    options = {option for case in drawn for option in required(case)}
    assert options == {option for known in mechanisms().values() for option in known.options}
    for option in OPTIONS.values():
        if option.of_sizes is None:
            forms = {case.options.get(option.name) for case in drawn}
            assert forms >= {None, *option.forms}
            assert len(forms & {*option.more_forms}) >= len(option.more_forms) / 2
    assert {case.content for case in drawn} == set(DISTRIBUTIONS)
    assert {case.layout for case in drawn} == set(space.factors()["layout"])
    assert {axis for case in drawn for axis, n in case.sizes.items() if n == 0} >= {"B", "Lq", "Lk"}


def test_cases_stay_small(drawn):
    """Most lengths are below ten, both sides of the blocks occur, none is beyond 70, in half precision beyond 33."""
    lengths = [case.sizes[axis] for case in drawn for axis in ("Lq", "Lk") if axis in case.sizes]
    assert sum(length < 10 for length in lengths) > len(lengths) / 2
    assert {15, 16, 17, 31, 32, 33, 63, 64, 65} <= set(lengths)
    assert max(lengths) <= 70
    half = [case for case in drawn if not case.format.single]
    assert max(case.sizes.get(axis, 0) for case in half for axis in ("Lq", "Lk", "L", "P")) <= 33


@pytest.mark.parametrize(
    "declared",
    [
        Capabilities(mechanisms=("masked_softmax",)),
        Capabilities(mechanisms=("scaled_dot_product",), dtypes=("bfloat16",), options=("mask", "causal_top_left")),
        Capabilities(mechanisms=("cosine", "multi_head"), dtypes=("float64",), options=("bias", "grouped_heads")),
    ],
)
def test_a_narrow_declaration_takes_all_that_is_drawn_for_it(declared):
    """Of its mechanisms, dtypes and options alone; all of them come."""
    found = [random.draw(random.cases_of([declared]), 0, k) for k in range(60)]
    assert [] == [case.id for case in found if refuses(declared, case)]
    assert set(declared.mechanisms) == {case.mechanism for case in found}
    assert set(declared.options) == {option for case in found for option in required(case)}


def test_named_mechanisms_leave_the_others_out():
    """Also those that are declared; nothing is left where a mechanism is not declared."""
    declared = Capabilities(mechanisms=("cosine", "location"))
    drawn = {random.draw(random.cases_of([declared], ["location"]), 0, k).mechanism for k in range(10)}
    assert {"location"} == drawn
    assert random.cases_of([declared], ["multi_head"]).is_empty


@pytest.mark.parametrize(
    ("fails", "smallest"),
    [
        (lambda c: c.sizes.get("Lk", 0) > 12, "Lk13"),
        (lambda c: c.sizes.get("H", 0) > c.sizes.get("Hk", 99), "H2Hk1"),
        (lambda c: c.dtype == "bfloat16" and c.layout != "contiguous", "-bfloat16-plain-ordinary-transposed"),
        (lambda c: "mask" in c.options and c.draw % 2, "-float32-mask=full-ordinary-contiguous-draw1"),
        (lambda c: c.options.get("causal") and c.sizes.get("Lk", 0) >= c.sizes.get("Lq", 99) + 2, "Lq1Lk3"),
    ],
)
def test_what_matters_stays_and_the_rest_is_simple(strategy, case_of, fails, smallest):
    """Every length that does not matter ends at 1, and no option is left that is not needed."""
    numbered = ((k, case_of(k)) for k in itertools.count())
    k = next(k for k, case in numbered if case.mechanism == "scaled_dot_product" and fails(case))
    found = random.smallest(strategy, 0, k, lambda case: case.mechanism == "scaled_dot_product" and bool(fails(case)))
    assert fails(found)
    assert smallest in found.id
    assert len(found.sizes) - 2 <= list(found.sizes.values()).count(1)
    assert len(found.options) <= 1


def test_what_does_not_fail_again_has_no_smallest(strategy, case_of):
    """The case itself is the only one that could fail, or none."""
    k = next(k for k in itertools.count() if len(case_of(k).options) > 1)
    assert case_of(k) == random.smallest(strategy, 0, k, lambda case: case == case_of(k))
    assert None is random.smallest(strategy, 0, k, lambda case: False)
