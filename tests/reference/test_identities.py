"""What single mechanisms promise, and what they owe to each other."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.bounds import error_bounds
from attention_harness.model.capabilities import Arithmetic
from attention_harness.reference import core
from attention_harness.reference.projected import projected
from attention_harness.registry import mechanisms
from tests.reference.test_semantics import call, drawn, error_bound


def test_a_zero_vector_has_cosine_zero_with_everything():
    """A zero query weighs all keys alike; a zero key scores 0 among keys whose cosine is 1 and -1."""
    given, _ = drawn("cosine", Lk=4)
    given["query"][0, 0, 0] = 0
    _, weights = call("cosine", given)
    assert weights[0, 0, 0].tolist() == [0.25] * 4
    key = np.array([[[[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]]]])
    assert core.normalise(key)[0, 0, 0].tolist() == [0.0, 0.0]
    _, weights = call("cosine", {"query": key[:, :, 1:2], "key": key, "value": key})
    (none, same, opposite), ratio = weights[0, 0, 0], np.exp(1.0)
    allowed = error_bound("masked_softmax", {"scores": np.array([[[[0.0, 1.0, -1.0]]]])})[0, 0, 0] * ratio
    assert abs(same - none * ratio) <= 2 * allowed.max()
    assert abs(none - opposite * ratio) <= 2 * allowed.max()


def test_the_cosine_does_not_see_lengths():
    """Powers of two on queries and keys change no bit."""
    given, _ = drawn("cosine")
    longer = given | {"query": given["query"] * 2.0**40, "key": given["key"] * 2.0**-600}
    assert call("cosine", given)[0].tolist() == call("cosine", longer)[0].tolist()


def test_an_unknown_score_raises_and_names_the_known_ones():
    """As in note 000, an attention type that does not exist is a ValueError."""
    given, _ = drawn("projected", {"score": "cosine"})
    with pytest.raises(ValueError, match=r"'dot'.*dot_product, cosine, scaled_dot_product"):
        projected(**given, score="dot")


def test_cross_attention_adds_to_the_sequence_that_asks():
    """Output less sequence is the projected attention; with W_v = 0 the sequence comes back; it sets the length."""
    given, _ = drawn("cross_attention", Lq=3, Lk=5)
    output, weights = call("cross_attention", given)
    assert (given["sequence"].shape, (2, 3, 5)) == (output.shape, weights.shape)
    parts = {"query": given["sequence"], "key": given["context"], "value": given["context"]}
    parts |= {name: given[name] for name in ("W_q", "W_k", "W_v")}
    change, _ = call("projected", parts, score="scaled_dot_product")
    assert (given["sequence"] + change).tolist() == output.tolist()
    unchanged, _ = call("cross_attention", given | {"W_v": np.zeros_like(given["W_v"])})
    assert given["sequence"].tolist() == unchanged.tolist()


def test_self_attention_follows_a_permutation_unless_positions_are_added():
    """Without positions the output is permuted as the sequence is; with them it is another output."""
    given, _ = drawn("self_attention", {"positions": "none"})
    order = [3, 0, 4, 1, 2]
    permuted = {"sequence": given["sequence"][:, order]}
    for positions, follows in (("none", True), ("sinusoidal", False)):
        expected = call("self_attention", given, positions=positions)[0][:, order]
        got, _ = call("self_attention", permuted, positions=positions)
        within = np.abs(got - expected) <= error_bound("self_attention", permuted, positions=positions)
        assert follows == within.all()


def test_self_attention_is_the_scaled_dot_product_of_one_sequence():
    """Q = K = V = X; with positions, X + P in all three places."""
    given, _ = drawn("self_attention", {"positions": "none"})
    x = given["sequence"]
    placed, none = call("positional_encoding", given)
    assert none is None
    for positions, sequence in (("none", x), ("sinusoidal", placed)):
        three = dict.fromkeys(("query", "key", "value"), sequence)
        assert call("scaled_dot_product", three)[0].tolist() == (
            call("self_attention", given, positions=positions)[0].tolist()
        )


def test_rotary_self_attention_is_the_scaled_dot_product_of_rotated_queries_and_keys():
    """The values are not rotated."""
    given, _ = drawn("self_attention", {"positions": "none"})
    rotated, none = call("rotary_embedding", given)
    assert none is None
    three = {"query": rotated, "key": rotated, "value": given["sequence"]}
    expected, _ = call("scaled_dot_product", three)
    assert expected.tolist() == call("self_attention", given, positions="none", rotary="half")[0].tolist()


def test_differential_attention_of_equal_halves_is_a_part_of_the_scaled_dot_product():
    """Equal queries and keys leave 1 - lambda of one map; lambda is 0.8 where a vector of either product is zero."""
    given, _ = drawn("differential_attention")
    given |= {"query_2": given["query_1"], "key_2": given["key_1"]}
    given |= {name: np.zeros_like(given[name]) for name in ("lambda_k1", "lambda_k2")}
    one_map = {x: given[f"{x}_1"] for x in ("query", "key")} | {"value": given["value"]}
    for got, plain, bound in zip(
        call("differential_attention", given),
        call("scaled_dot_product", one_map),
        error_bounds(mechanisms()["differential_attention"].evaluate, given, {}, "float64", Arithmetic()),
        strict=True,
    ):
        assert (np.abs(got - (1 - 0.8) * plain) <= bound.bound).all()


def test_lambda_without_a_second_product_is_an_exponential():
    """lambda_init - 1 and the exponential of the first product; the second map then takes so much of the first."""
    given, _ = drawn("differential_attention")
    given |= {"lambda_k2": np.zeros_like(given["lambda_k2"])}
    factor = np.exp(given["lambda_q1"] @ given["lambda_k1"]) - 1 + 0.8
    maps = [
        call("scaled_dot_product", {x: given[f"{x}_{n}"] for x in ("query", "key")} | {"value": given["value"]})[0]
        for n in (1, 2)
    ]
    output, _ = call("differential_attention", given)
    assert (np.abs(output - (maps[0] - factor * maps[1])) <= error_bound("differential_attention", given)).all()


def test_one_head_without_projections_is_the_scaled_dot_product():
    """multi_head with H = 1 and identities for its weights gives the same bits."""
    given, _ = drawn("multi_head", H=1, E=4, Eq=4, Ek=4, Ev=4, O=4)
    identities = dict.fromkeys(("W_q", "W_k", "W_v", "W_o"), np.eye(4))
    plain = {name: given[name][:, None] for name in ("query", "key", "value")}
    output, weights = call("multi_head", given | identities, heads=1)
    for expected, got in zip(call("scaled_dot_product", plain), (output[:, None], weights), strict=True):
        assert expected.tolist() == got.tolist()


def test_latent_attention_is_the_scaled_dot_product_of_projected_latents():
    """Keys [W_k c; r], queries [q; q_r] and values W_v c give the same numbers, and so does the absorbed form."""
    given, _ = drawn("latent_attention", H=2, D=4, R=2, C=3, Dv=5)
    output, weights = call("latent_attention", given)
    latent, rotary = given["latent"][:, None], given["key_rotary"][:, None]
    key, value = (latent @ given[name].swapaxes(-1, -2) for name in ("W_k", "W_v"))
    keys = np.concatenate([key, np.broadcast_to(rotary, (*key.shape[:-1], 2))], -1)
    plain = {"query": np.concatenate([given["query"], given["query_rotary"]], -1), "key": keys, "value": value}
    allowed = 2 * error_bound("latent_attention", given)
    assert (np.abs(output - call("scaled_dot_product", plain)[0]) <= allowed).all()
    scores = given["query"] @ given["W_k"] @ latent.swapaxes(-1, -2)
    scores = (scores + given["query_rotary"] @ rotary.swapaxes(-1, -2)) / np.sqrt(6)
    absorbed = core.softmax(scores, np.ones(scores.shape, bool)) @ latent @ given["W_v"].swapaxes(-1, -2)
    assert (np.abs(output - absorbed) <= allowed).all()
    assert weights.shape == scores.shape


@pytest.mark.parametrize("part", ["content", "rotary"])
def test_a_worked_example_of_latent_attention(part):
    """By content the scores are (64 * 3 / 2, 0) and (0, 64 * 5 / 2), by the rotary part (64 * 4 / 2, 0) and (0, ...).

    One latent of two features, two heads: the first fetches 1 * 3 + 1 * 0 of the first latent, the second
    2 * 0 + 1 * 5 of the other one; the other key's weight is exp(-96) or less.
    """
    sought = np.array([[[[64.0, 0.0]], [[64.0, 0.0]]]])
    placed = np.array([[[[64.0, 0.0]], [[0.0, 64.0]]]])
    given = {
        "query": sought * (part == "content"),
        "query_rotary": placed * (part == "rotary"),
        "latent": np.array([[[3.0, 0.0], [0.0, 5.0]]]),
        "key_rotary": np.array([[[4.0, 0.0], [0.0, 4.0]]]),
        "W_k": np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]),
        "W_v": np.array([[[1.0, 1.0]], [[2.0, 1.0]]]),
    }
    output, weights = call("latent_attention", given)
    assert weights.round(40).tolist() == [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    assert output.tolist() == [[[[3.0]], [[5.0]]]]


def test_each_head_owns_its_columns():
    """Head h attends with columns h E/H to (h + 1) E/H, and its output stands there; lengths serve every head."""
    given, _ = drawn("multi_head", H=2, E=6, Eq=6, Ek=6, Ev=6, O=6)
    identities = dict.fromkeys(("W_q", "W_k", "W_v", "W_o"), np.eye(6))
    lens = np.array([2, 5])
    output, weights = call("multi_head", given | identities, heads=2, valid_lens=lens)
    for head, columns in enumerate((slice(0, 3), slice(3, 6))):
        own = {name: given[name][:, None, :, columns] for name in ("query", "key", "value")}
        expected, expected_weights = call("scaled_dot_product", own, valid_lens=lens)
        allowed = error_bound("scaled_dot_product", own, valid_lens=lens)
        assert (np.abs(output[:, None, :, columns] - expected) <= allowed).all()
        assert (weights[:, head] > 0).tolist() == (expected_weights[:, 0] > 0).tolist()


def test_concat_tanh_is_additive_with_weights_of_one():
    """W = [W_q, W_k], b = 0 and w_v = 1 make the two formulas one."""
    given, _ = drawn("concat_tanh")
    given["b"] = np.zeros_like(given["b"])
    width = given["query"].shape[-1]
    parts = {"W_q": given["W"][:, :width], "W_k": given["W"][:, width:], "w_v": np.ones(len(given["b"]))}
    pair = {name: given[name] for name in ("query", "key", "value")}
    difference = np.abs(call("concat_tanh", given)[0] - call("additive", pair | parts)[0])
    assert (difference <= error_bound("concat_tanh", given)).all()


def test_a_sharp_score_fetches_the_value_of_the_best_key():
    """Soft addressing becomes hard addressing as the scale grows."""
    given, _ = drawn("scaled_dot_product")
    output, weights = call("scaled_dot_product", given, scale=1e6)
    best = (given["query"] @ given["key"].swapaxes(-1, -2)).argmax(-1)
    assert np.take_along_axis(given["value"], best[..., None], -2).tolist() == output.tolist()
    assert np.eye(5)[best].tolist() == weights.tolist()


def test_a_wide_kernel_takes_the_mean_and_a_narrow_one_the_nearest():
    """gaussian_kernel with w = 0 weighs all alike; as w grows only the nearest key counts."""
    given, _ = drawn("gaussian_kernel", Lk=4)
    assert (call("gaussian_kernel", given | {"w": np.zeros(1)})[1] == 0.25).all()
    far = ((given["query"][..., :, None, :] - given["key"][..., None, :, :]) ** 2).sum(-1)
    assert np.eye(4)[far.argmin(-1)].tolist() == call("gaussian_kernel", given | {"w": np.full(1, 1e4)})[1].tolist()


def test_proportional_pairs_that_are_left_out_have_a_rate_of_zero():
    """As transformers writes it: halves of the whole width, the last rates set to 0."""
    given = {"sequence": np.random.default_rng(5).normal(size=(2, 3, 5, 12))}
    rates = np.where(np.arange(6) < 3, 10000.0 ** -(np.arange(6) / 6), 0.0)
    angle = np.arange(5.0)[:, None] * np.concatenate([rates, rates])
    first, second = np.split(given["sequence"], 2, axis=-1)
    expected = given["sequence"] * np.cos(angle) + np.concatenate([-second, first], -1) * np.sin(angle)
    settings = {"pairing": "proportional", "partial_rotary_factor": 0.5}
    got, _ = call("rotary_embedding", given, **settings)
    assert (np.abs(got - expected) <= error_bound("rotary_embedding", given, **settings)).all()


def test_linear_attention_with_decays_of_zero_is_unnormalised_causal_attention():
    """Without a rate, and with decays of exactly 0, as well as without any."""
    given, _ = drawn("linear_attention", L=7)
    products = np.tril(given["query"] @ given["key"].swapaxes(-1, -2))
    expected = products @ given["value"] / np.sqrt(given["key"].shape[-1])
    for shape in (given["key"].shape[:-1], given["key"].shape):
        got, none = call("linear_attention", given, decay=np.zeros(shape))
        assert none is None
        assert got.tolist() == call("linear_attention", given)[0].tolist()
    assert (np.abs(got - expected) <= 2 * error_bound("linear_attention", given)).all()


def test_a_feature_s_decay_that_is_the_same_for_all_is_the_head_s():
    """The same bits."""
    given, _ = drawn("linear_attention", L=7)
    decay = -np.abs(np.random.default_rng(3).normal(size=given["key"].shape[:-1]))
    features = np.broadcast_to(decay[..., None], given["key"].shape)
    one, other = (call("linear_attention", given, decay=each)[0] for each in (decay, features))
    assert one.tolist() == other.tolist()


def test_the_delta_rule_stores_each_value_at_its_key():
    """With orthogonal keys of length 1 and a rate of 1 each key fetches the last value that was stored at it."""
    key = np.eye(4)[[0, 1, 2, 1, 3, 0]][None, None]
    value = np.arange(1.0, 19.0).reshape(1, 1, 6, 3)
    given = {"query": key, "key": key, "value": value}
    got, _ = call("linear_attention", given, update_rate=np.ones((1, 1, 6)), scale=1.0)
    assert got.tolist() == value.tolist()


def test_sums_and_corrections_by_hand():
    """Two values at one key are added up, or the second replaces the first, and the third is met half way."""
    keys, value = np.eye(4)[[0, 0, 1]][None, None], np.array([3.0, 5.0, 7.0]).reshape(1, 1, 3, 1)
    query = np.array([[2.0, 0, 0, 0], [2, 0, 0, 0], [2, 2, 0, 0]])[None, None]  # 1/sqrt(4) = 1/2
    got, _ = call("linear_attention", {"query": query, "key": keys, "value": value})
    assert [3.0, 8.0, 15.0] == got.ravel().tolist()
    one_key = {"query": query, "key": np.eye(4)[[0, 0, 0]][None, None], "value": value}
    got, _ = call("linear_attention", one_key, update_rate=np.array([[[1.0, 1.0, 0.5]]]))
    assert [3.0, 5.0, 6.0] == got.ravel().tolist()


def test_a_strong_decay_forgets_at_once():
    """What comes after it is what the later positions make alone, to the last bit in float64."""
    given, _ = drawn("linear_attention", L=7)
    decay = np.where(np.arange(7) == 4, -1000.0, -0.5) + np.zeros(given["key"].shape[:-1])
    whole, _ = call("linear_attention", given, decay=decay)
    late = {name: x[..., 4:, :] for name, x in given.items()}
    assert whole[..., 4:, :].tolist() == call("linear_attention", late, decay=decay[..., 4:])[0].tolist()


def test_the_encoding_starts_with_zeros_and_ones_and_alternates():
    """Position 0 is (0, 1, 0, 1, ...); an odd width ends with a sine; the first pair turns by one radian a step."""
    for width in (1, 2, 7, 8):
        encoding, _ = call("positional_encoding", {"sequence": np.zeros((1, 4, width))})
        assert [float(column % 2) for column in range(width)] == encoding[0, 0].tolist()
        assert np.sin(np.arange(4.0)).tolist() == encoding[0, :, 0].tolist()
        assert width == 1 or np.cos(np.arange(4.0)).tolist() == encoding[0, :, 1].tolist()


def test_differential_attention_by_hand():
    """Scores of ln 3 and 0 weigh 3/4 and 1/4, scores of 0 one half each; lambda is 1 - 1 + 0.8."""
    given = {
        "query_1": [[[[np.log(3)]]]],
        "query_2": [[[[5.0]]]],
        "key_1": [[[[1.0], [0.0]]]],
        "key_2": [[[[0.0], [0.0]]]],
        "value": [[[[8.0, 0.0], [0.0, 4.0]]]],
        **{name: [0.0] for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")},
    }
    given = {name: np.array(numbers) for name, numbers in given.items()}
    output, weights = call("differential_attention", given)
    assert np.allclose(weights, [[[[0.35, -0.15]]]], rtol=1e-14)
    assert np.allclose(output, [[[[2.8, -0.6]]]], rtol=1e-14)
