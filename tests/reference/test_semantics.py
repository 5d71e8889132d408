"""What the mechanisms mean at their edges checked on the float64 references."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from attention_harness.bounds import error_bounds, gamma
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.space import variants
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.reference import core
from attention_harness.registry import mechanisms

PAIRWISE = [variant for variant in variants() if variant.mechanism.scores]
SIZES = {"B": 2, "H": 2, "Hk": 2, "Lq": 3, "Lk": 5, "L": 5, "P": 5, "D": 4, "Dv": 3, "Dq": 4, "Dk": 3}
SIZES |= {"E": 4, "Eq": 5, "Ek": 3, "Ev": 2, "A": 6, "O": 3, "C": 3, "R": 2}
VARIANT = pytest.mark.parametrize("variant", PAIRWISE, ids=lambda v: "-".join((v.mechanism.name, *v.choices.values())))


def drawn(mechanism: str, choices: dict[str, str] | None = None, **sizes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a mechanism's tensors, with these sizes, and what else it must be given."""
    known = mechanisms()[mechanism]
    own = {axis: (SIZES | sizes)[axis] for axis in known.axes}
    case = parse(Case(mechanism, own, "float64", choices or {}).id)
    return inputs.exact(inputs.tensors(case)), inputs.arguments(case)


def call(mechanism: str, given: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    return mechanisms()[mechanism].evaluate(**given, **options)


def error_bound(mechanism: str, given: dict[str, Any], **options: Any) -> Any:
    """Return how far from the reference another float64 evaluation may be."""
    return error_bounds(mechanisms()[mechanism].evaluate, given, options, "float64", Arithmetic())[0].bound


def without_attention(variant: Any, given: dict[str, Any]) -> Any:
    """Return the output that is left when nothing is fetched: zero, but for what the formula adds to it."""
    if variant.mechanism.name == "cross_attention":
        return given["sequence"]
    if variant.mechanism.name == "location":
        width = given["query"].shape[-1]
        return given["query"] @ given["W_c"][:, :width].T + given["b_c"]
    return 0.0


def total_weight(variant: Any, given: dict[str, Any]) -> Any:
    """Return what the weights of a row sum to: 1, or what a second map leaves of it."""
    if variant.mechanism.name == "differential_attention":
        first, second = (np.exp(given[f"lambda_q{n}"] @ given[f"lambda_k{n}"]) for n in (1, 2))
        return 1 - (first - second + 0.8)
    return 1


@VARIANT
def test_a_row_that_sees_no_key_weighs_nothing(variant):
    """Its weights are zero and so is what it fetches, whatever hides the keys; the other rows are finite."""
    given, options = drawn(variant.mechanism.name, variant.choices)
    shape = inputs.shape_of(variant.mechanism.scores, SIZES)
    hidden = np.ones(shape, bool)
    hidden[0, ..., 1, :] = False
    lens = np.full((shape[0], shape[-2]), shape[-1])
    lens[0, 1] = 0
    for visibility in ({"mask": hidden}, {"bias": np.where(hidden, 0.0, -np.inf)}, {"valid_lens": lens}):
        output, weights = call(variant.mechanism.name, given, **options, **visibility)
        assert (weights[0, ..., 1, :] == 0).all()
        assert (weights[1].sum(-1) > 0).all()
        left = np.broadcast_to(without_attention(variant, given), output.shape)
        assert left[0, ..., 1, :].tolist() == output[0, ..., 1, :].tolist()
        assert np.isfinite(output).all()


@pytest.mark.parametrize(
    ("policy", "weight", "output"), [("zero", 0.0, 0.0), ("nan", np.nan, np.nan), ("mean", 0.25, 2.5)]
)
def test_other_policies_of_fully_masked_rows_are_at_hand(policy, weight, output):
    """An implementation that declares `nan` or `mean` is held to that: NaN, or the mean of all values."""
    value = np.arange(1.0, 5.0)[None, None, :, None]
    given = {"query": np.ones((1, 1, 2, 2)), "key": np.ones((1, 1, 4, 2)), "value": value}
    mask = np.array([[False] * 4, [True, False, False, False]])
    out, weights = call("scaled_dot_product", given, mask=mask, fully_masked_rows=policy)
    np.testing.assert_array_equal(weights[0, 0], [[weight] * 4, [1.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(out[0, 0], [[output], [1.0]])


@pytest.mark.parametrize(
    "mechanism", [v.mechanism.name for v in PAIRWISE if "key" in [i.name for i in v.mechanism.inputs]]
)
def test_what_is_masked_does_not_matter(mechanism):
    """Another finite number in a key and value that nobody sees changes no bit of the output or the weights."""
    variant = next(variant for variant in PAIRWISE if variant.mechanism.name == mechanism)
    given, options = drawn(mechanism, variant.choices)
    shape = inputs.shape_of(variant.mechanism.scores, SIZES)
    lens = np.full(shape[0], shape[-1] - 1)  # nobody sees the last key
    before = call(mechanism, given, **options, valid_lens=lens)
    other = {name: array.copy() for name, array in given.items()}
    other["value"][..., -1, :] = 1e9
    if mechanism != "location":  # whose keys belong to the queries
        other["key"][..., -1, :] += 1
    for expected, got in zip(before, call(mechanism, other, **options, valid_lens=lens), strict=True):
        assert expected.tolist() == got.tolist()
    assert before[0].tolist() != call(mechanism, other, **options)[0].tolist()


@pytest.mark.parametrize("causal", [None, "top_left", "bottom_right"])
@pytest.mark.parametrize("per_query", [False, True])
def test_a_key_is_seen_when_every_condition_allows_it(causal, per_query):
    """Mask, bias, lengths and causality together: checked key by key."""
    batch, _, queries, keys = shape = (2, 3, 4, 5)
    bits = np.random.Generator(np.random.Philox(7)).random((2, *shape)) < 0.7
    mask, bias = bits[0, :1], np.where(bits[1, :, :1], 0.5, -np.inf)
    lens = np.arange(batch * queries).reshape(batch, queries) % (keys + 1) if per_query else np.array([0, 4])
    visible = core.visible_keys(shape, mask=mask, bias=bias, valid_lens=lens, causal=causal)
    for b, h, i, j in itertools.product(*map(range, shape)):
        reach = {None: keys, "top_left": i, "bottom_right": i + keys - queries}[causal]
        allowed = (
            mask[0, h, i, j],
            bits[1, b, 0, i, j],
            j < (lens[b, i] if per_query else lens[b]),
            j <= reach,
        )
        assert all(allowed) == visible[b, h, i, j], (b, h, i, j)


@pytest.mark.parametrize(
    ("causal", "queries", "keys", "seen"),
    [
        ("top_left", 2, 4, ["1000", "1100"]),
        ("bottom_right", 2, 4, ["1110", "1111"]),
        ("top_left", 4, 2, ["10", "11", "11", "11"]),
        ("bottom_right", 4, 2, ["00", "00", "10", "11"]),
        ("top_left", 3, 3, ["100", "110", "111"]),
        ("bottom_right", 3, 3, ["100", "110", "111"]),
    ],
)
def test_the_corner_says_where_causality_starts(causal, queries, keys, seen):
    """top_left counts from the first query and key, bottom_right from the last ones."""
    visible = core.visible_keys((1, queries, keys), causal=causal)
    assert seen == ["".join(str(int(bit)) for bit in row) for row in visible[0]]


def test_an_unknown_corner_is_refused():
    """A misspelt corner raises instead of showing everything."""
    complaint = "unknown causal corner 'upper_left'; known: top_left, bottom_right"
    with pytest.raises(ValueError, match=complaint):
        core.visible_keys((1, 2, 2), causal="upper_left")
    for variant in PAIRWISE:
        if "causal_top_left" in variant.mechanism.options:
            given, options = drawn(variant.mechanism.name, variant.choices)
            with pytest.raises(ValueError, match=complaint):
                call(variant.mechanism.name, given, **options, causal="upper_left")


@VARIANT
def test_an_unknown_policy_of_fully_masked_rows_is_refused(variant):
    """Even where no row is empty a misspelt policy raises."""
    given, options = drawn(variant.mechanism.name, variant.choices)
    with pytest.raises(ValueError, match="unknown policy 'zeros' for fully masked rows; known: zero, nan, mean"):
        call(variant.mechanism.name, given, **options, fully_masked_rows="zeros")


@pytest.mark.parametrize("positions", ["", "sinusoid", None, True])
def test_unknown_positions_are_refused(positions):
    """What is neither "none" nor "sinusoidal" raises instead of leaving the positions out."""
    given, _ = drawn("self_attention", {"positions": "none"})
    with pytest.raises(ValueError, match=r"unknown positions .*; known: none, sinusoidal"):
        call("self_attention", given, positions=positions)


def test_lengths_for_every_query_of_a_batch_are_the_length_of_the_batch():
    """(B,) and (B, Lq) with equal entries mean the same."""
    shape, lens = (3, 2, 4, 5), np.array([0, 2, 5])
    per_batch = core.visible_keys(shape, valid_lens=lens)
    assert per_batch.tolist() == core.visible_keys(shape, valid_lens=np.repeat(lens[:, None], 4, 1)).tolist()
    assert per_batch.sum(-1)[:, 0, 0].tolist() == [0, 2, 5]


@pytest.mark.parametrize("mechanism", ["dot_product", "scaled_dot_product", "cosine"])
def test_grouped_heads_repeat_each_key_head_for_its_neighbours(mechanism):
    """Query heads 0 and 1 share key head 0, heads 2 and 3 share head 1; tiling (0, 1, 0, 1) is another answer."""
    given, _ = drawn(mechanism, H=4, Hk=2)
    output, _ = call(mechanism, given)

    def spelled_out(heads: list[int]) -> Any:
        return call(mechanism, given | {name: given[name][:, heads] for name in ("key", "value")})[0]

    assert spelled_out([0, 0, 1, 1]).tolist() == output.tolist()
    assert (np.abs(spelled_out([0, 1, 0, 1]) - output)[:, 1:3] > error_bound(mechanism, given)[:, 1:3]).any()


@VARIANT
@pytest.mark.parametrize(("queries", "keys"), [(0, 5), (5, 0), (0, 0), (1, 1)])
def test_lengths_zero_and_one_are_ordinary(variant, queries, keys):
    """No query gives an empty output, no key gives zeros, one key gives its value all the weight."""
    sizes = {"Lq": queries, "Lk": keys, "L": queries, "P": keys}
    given, options = drawn(variant.mechanism.name, variant.choices, **sizes)
    output, weights = call(variant.mechanism.name, given, **options)
    assert inputs.shape_of(variant.mechanism.output, SIZES | sizes) == output.shape
    assert inputs.shape_of(variant.mechanism.scores, SIZES | sizes) == weights.shape
    if keys == 0 and variant.mechanism.name not in ("self_attention", "masked_softmax"):
        assert np.broadcast_to(without_attention(variant, given), output.shape).tolist() == output.tolist()
    if keys == 1:
        total = total_weight(variant, given)  # of several roundings where it is not 1
        allowed = 0 if total == 1 else gamma(8, DTYPES["float64"].roundoff)
        assert (np.abs(weights - total) <= allowed).all()


@VARIANT
def test_the_weights_are_a_distribution_over_the_keys(variant):
    """Soft addressing: none is negative, and they sum to 1 within the rounding of a sum; not so a difference of two."""
    given, options = drawn(variant.mechanism.name, variant.choices)
    _, weights = call(variant.mechanism.name, given, **options)
    total = total_weight(variant, given)
    assert (weights >= 0).all() or total != 1
    roundings = gamma(2 * weights.shape[-1] + (8 if total != 1 else 0), DTYPES["float64"].roundoff)
    assert (np.abs(weights.sum(-1) - total) <= roundings * np.maximum(np.abs(weights).sum(-1), 1)).all()


def test_a_bias_joins_the_finished_scores():
    """It is added after the scale, and -inf in it hides a key as a mask does."""
    given, _ = drawn("scaled_dot_product")
    seen = np.array([True, False, True, True, False])
    assert call("scaled_dot_product", given, mask=seen)[0].tolist() == (
        call("scaled_dot_product", given, bias=np.where(seen, 0.0, -np.inf))[0].tolist()
    )
    bias = np.array([0.0, np.log(3.0), -np.inf, -np.inf, -np.inf])
    _, weights = call("scaled_dot_product", given | {"query": given["query"] * 0}, bias=bias, scale=1e-3)
    assert (np.abs(weights - [1 / 4, 3 / 4, 0, 0, 0]) <= gamma(16, DTYPES["float64"].roundoff)).all()
