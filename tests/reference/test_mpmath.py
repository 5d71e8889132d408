"""The float64 references against an evaluation at 50 digits: how far is the oracle itself from the truth?

The error bound of float64 is twice the bound of one evaluation, since the reference errs as much as what it judges. So
the
reference may use half of it.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from attention_harness.bounds import Model, Tracked
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.space import variants
from attention_harness.checks.expected import bound_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS as DECLARED
from attention_harness.reference import core
from attention_harness.reference.scalars import Scalars, context, numbers, table
from attention_harness.registry import mechanisms
from tests.conftest import DEEP
from tests.reference.option_rules import ELSEWHERE, RULES

CONTENTS = ("ordinary", "large", "shifted", "nearly_equal", "tiny")
OPTIONS = (
    {},
    {"mask": "full"},
    {"mask": "head"},
    {"bias": "full"},
    {"bias": "query"},
    {"valid_lens": "batch"},
    {"valid_lens": "query"},
    {"causal": "top_left"},
    {"causal": "bottom_right"},
    {"scale": 0.375},
    {"base": 500.0, "first_position": 37.0},
    {"query_key_norm": "rms"},
    {"query_key_norm": "rms", "mask": "full", "scale": 0.375},
    {"quantised": "int8_block"},
    {"quantised": "e4m3_head", "causal": "bottom_right"},
    {"quantised": "e5m2_tensor", "mask": "full"},
    {"rotary": "half"},
    {"rotary": "half", "query_key_norm": "rms"},
    {"rotary": "interleaved", "rotated_query_key_norm": "rms", "query_key_norm": "rms"},
    {"rotary": "interleaved", "causal": "top_left"},
    {"pairing": "interleaved", "partial_rotary_factor": 0.75},
    {"pairing": "proportional", "partial_rotary_factor": 0.75, "first_position": 37.0},
    {"softcap": 1.5},
    {"alibi": "full"},
    {"sinks": "ordinary"},
    {"relative_bias": "buckets"},
    {"relative_bias": "buckets", "causal": "bottom_right"},
    {"sinks": "large", "mask": "full", "causal": "top_left"},
    {"alibi": "causal", "causal": "bottom_right", "bias": "full"},
    {"segments": "self"},
    {"segments": "cross", "causal": "bottom_right"},
    {"segments": "cross", "causal": "top_left", "mask": "full", "alibi": "full"},
    {"segments": "self", "window": (2, 1), "relative_bias": "buckets"},
    {"cache_lens": "batch"},
    {"cache_lens": "batch", "causal": "bottom_right", "relative_bias": "buckets"},
    {"cache_lens": "batch", "causal": "bottom_right", "window": (2, 1), "alibi": "full", "mask": "full"},
    {"window": (2, 1)},
    {"window": (1, 3), "causal": "bottom_right"},
    {"softcap": 1.5, "bias": "full", "window": (2, 1), "causal": "top_left", "scale": 0.375},
    {"mask": "batch", "bias": "full", "valid_lens": "query", "causal": "bottom_right"},
    {"mask": "query", "bias": "query", "valid_lens": "batch", "causal": "top_left", "scale": 0.375},
    {"decay": "head"},
    {"decay": "feature"},
    {"update_rate": "sigmoid", "scale": 0.375},
    {"decay": "head", "update_rate": "sigmoid"},
    {"decay": "feature", "update_rate": "sigmoid", "scale": 0.375},
)
# Every axis a length of its own; more keys than queries, then fewer.
SIZES = {
    "B": 2,
    "H": 2,
    "Hk": 2,
    "D": 3,
    "Dv": 4,
    "Dq": 3,
    "Dk": 4,
    "E": 6,
    "Eq": 5,
    "Ek": 3,
    "Ev": 4,
    "A": 5,
    "O": 3,
    "C": 4,
    "R": 2,
}
LENGTHS = ({"Lq": 3, "Lk": 5, "L": 4, "P": 5}, {"Lq": 5, "Lk": 3, "L": 5, "P": 3})
FLOAT64 = Model.of(Arithmetic(), "float64")


def cases_of(mechanism: str) -> list[Case]:
    """Return every choice, option set that the mechanism knows, content and head grouping."""
    known, found = mechanisms()[mechanism], []
    for variant, (number, options) in itertools.product(variants(), enumerate(OPTIONS)):
        own = {name: level for name, level in options.items() if level in variant.levels(name)}
        if variant.mechanism is not known or (options and not own):
            continue
        for turn, content in enumerate(CONTENTS):
            sizes = {axis: (SIZES | LENGTHS[(turn + number) % 2])[axis] for axis in known.axes}
            heads = [{}, {"H": 4}] if "grouped_heads" in known.options else [{}]
            found += [Case(mechanism, sizes | h, "float64", own | variant.choices, content, draw=number) for h in heads]
    return [parse(case.id) for case in dict.fromkeys(found)]


def shares(got: np.ndarray, exact: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return every element's error as a share of half its error bound."""
    error = table(exact.shape, lambda *at: abs(context().mpf(float(got[at])) - exact[at])).astype(float)
    return np.divide(error, bound / 2, out=np.where(error > 0, np.inf, 0.0), where=bound > 0)


@pytest.mark.parametrize("mechanism", mechanisms())
def test_the_reference_errs_less_than_half_its_float64_bound(mechanism, record_property):
    """Output and weights, and the value at the centre of the error bound, lie within half of the bound.

    On every second case, by its numbers; `tox -e thorough` asks all.
    """
    worst = {}
    for case in (one for one in cases_of(mechanism) if DEEP or one.fingerprint % 2):
        given = inputs.exact(inputs.tensors(case))
        tensors = {declared.name: given.pop(declared.name) for declared in mechanisms()[mechanism].inputs}
        options = given | inputs.arguments(case)
        reference = mechanisms()[mechanism].evaluate(**tensors, **options)
        truth = mechanisms()[mechanism].exact(Scalars(tensors, options, RULES))
        for got, exact, error_bound in zip(reference, truth, bound_of(case, Arithmetic(), "zero"), strict=True):
            if exact is not None:
                assert got.shape == exact.shape == error_bound.value.shape, case.id
                error_ratio = max(shares(value, exact, error_bound.bound).max() for value in (got, error_bound.value))
                worst[case.id] = max(error_ratio, worst.get(case.id, 0.0))
    where = max(worst, key=worst.__getitem__)
    record_property("worst_share", float(worst[where]))
    print(f"{mechanism}: worst share {worst[where]:.3f} of {len(worst)} cases, at {where}")
    assert {case: error_ratio for case, error_ratio in worst.items() if error_ratio > 1} == {}


def test_every_option_has_its_rule_and_no_comparison_is_empty():
    """None is left out; the options without a rule are those that are computed elsewhere."""
    assert set(DECLARED) == {*RULES, *ELSEWHERE}
    assert set(RULES) <= {option for options in OPTIONS for option in options}
    assert all(len(cases_of(mechanism)) >= len(CONTENTS) for mechanism in mechanisms())


def test_the_options_reach_fully_masked_rows_and_both_grouped_and_plain_heads():
    """Among the cases are queries that see no key, by a mask, by a bias, by a length and by a corner."""
    cases = cases_of("scaled_dot_product")
    empty = [case for case in cases if bound_of(case, Arithmetic(), "zero")[0].empty.any()]
    for option in ("mask", "valid_lens", "causal"):
        assert [case for case in empty if tuple(case.options) == (option,)], option
    assert {1, 2} == {case.sizes["H"] // case.sizes["Hk"] for case in cases}


@pytest.mark.parametrize(
    "scores", [(1e300, -1e300, 1e300), (-1e300, -1e300, -1e300), (1e300, 0.0, 1.0), (5e-324, 5e-324, 0.0)], ids=str
)
def test_the_softmax_survives_extreme_scores(scores):
    """Scores up to 1e300 of either sign, and the smallest there are, give the truth rounded once."""
    given = np.array([[scores]])
    exact = Scalars({"scores": given}, {}, {})
    truth = exact.softmax(lambda *at: exact.x["scores"][at], given.shape)
    assert core.softmax(given, np.ones(given.shape, bool)).tolist() == truth.astype(float).tolist()


def test_a_huge_hidden_score_does_not_flatten_the_seen_ones():
    """The peak is taken over the visible keys alone."""
    scores, visible = np.array([[[1e300, 1.0, 1.0]]]), np.array([[[False, True, True]]])
    assert core.softmax(scores, visible).tolist() == [[[0.0, 0.5, 0.5]]]


@pytest.mark.parametrize("size", [1e-200, 1e200, 5e-324, 1.0])
def test_normalise_survives_lengths_whose_squares_do_not(size):
    """Vectors of norm 1e-200 and 1e200 become unit vectors within the bound of one evaluation."""
    given = np.array([[3.0, -4.0, 12.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]) * size
    vectors, mp = numbers(given), context()
    lengths = [mp.sqrt(mp.fdot(vector, vector)) for vector in vectors]
    truth = table(given.shape, lambda i, j: vectors[i, j] / lengths[i] if lengths[i] else mp.zero)
    assert shares(core.normalise(given), truth, 2 * Tracked(FLOAT64, given).normalise().bound).max() <= 1
