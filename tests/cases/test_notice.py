"""What the report says of its heatmaps is true of their numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_harness.cases.heatmaps import heatmaps
from attention_harness.cases.notice import NOTICE
from attention_harness.cases.real_sample import real_sample
from attention_harness.registry import mechanisms


@pytest.fixture(scope="module")
def drawn():
    """Return the panels on real input as arrays, by mechanism."""
    return {
        name: [np.array(panel.values) for panel in panels if panel.input == "recorded"]
        for name, panels in heatmaps().items()
    }


def largest(weights: np.ndarray) -> float:
    """Return the mean over the queries of their largest weight."""
    return weights.max(-1).mean()


def on_diagonal(weights: np.ndarray) -> float:
    """Return the fraction of queries whose largest weight is that of their own position."""
    return (weights.argmax(-1) == np.arange(len(weights))).mean()


def beside_diagonal(weights: np.ndarray) -> float:
    """Return the mean weight of keys at most three positions away."""
    near = np.abs(np.subtract.outer(*[np.arange(len(weights))] * 2)) <= 3
    return (weights * near).sum(-1).mean()


def most_won(weights: np.ndarray) -> float:
    """Return the fraction of queries for which the most successful key wins."""
    return np.bincount(weights.argmax(-1)).max() / len(weights)


def test_every_mechanism_has_a_sentence():
    assert set(NOTICE) == set(mechanisms())


def test_products_are_sharp_and_scaling_softens_them(drawn):
    """0.7, then a quarter, where the neighbours show: more than half of the weight lies within three positions."""
    assert round(largest(drawn["dot_product"][0]), 1) == 0.7
    assert abs(largest(drawn["scaled_dot_product"][0]) - 0.25) < 0.02
    assert beside_diagonal(drawn["scaled_dot_product"][0]) > 0.5
    assert largest(drawn["gaussian_kernel"][0]) > 0.75


def test_a_cosine_has_the_same_pattern_without_contrast(drawn):
    """No ratio above e^2; the order of a row's weights goes with that of the scaled products."""
    cosine = drawn["cosine"][0]
    assert (cosine.max(-1) / cosine.min(-1)).max() <= math.exp(2)
    products = np.log(drawn["scaled_dot_product"][0] + 1e-6)
    assert np.corrcoef(np.log(cosine).ravel(), products.ravel())[0, 1] > 0.8


def test_sums_of_tanh_make_columns(drawn):
    assert most_won(drawn["concat_tanh"][0]) == 0.75
    assert most_won(drawn["additive"][0]) > 2 * most_won(drawn["cosine"][0])
    assert largest(drawn["additive"][0]) < 0.1
    assert largest(drawn["tanh_gated"][0]) > 4 * largest(drawn["additive"][0])


def test_a_diagonal_is_where_a_sequence_meets_itself(drawn):
    """Not over fixed positions, nor between two texts; in self-attention for most, and more with positions."""
    assert on_diagonal(drawn["location"][0]) == 0
    assert on_diagonal(drawn["cross_attention"][0]) < 0.1
    without, with_positions = map(on_diagonal, drawn["self_attention"])
    assert 0.8 < without < with_positions
    assert largest(drawn["self_attention"][0]) < largest(drawn["self_attention"][1])


def test_the_score_decides_after_projections(drawn):
    products, cosine, scaled = map(largest, drawn["projected"])
    assert cosine < 0.06 < 3 * cosine < scaled < products / 3


def test_heads_differ(drawn):
    heads = drawn["multi_head"]
    assert len(heads) == 4
    assert max(np.corrcoef([head.ravel() for head in heads])[np.triu_indices(4, 1)]) < 0.5


def test_the_rotary_parts_bring_the_diagonal_of_latent_attention():
    """With rotary parts of 0 it is gone."""
    known = mechanisms()["latent_attention"]
    [(_, arrays, arguments)] = real_sample(known)
    zeros = {name: np.zeros_like(arrays[name]) for name in ("query_rotary", "key_rotary")}
    _, weights = known.evaluate(**arrays, **arguments)
    _, without = known.evaluate(**arrays | zeros, **arguments)
    assert beside_diagonal(weights[0, 0]) > 0.6
    assert beside_diagonal(without[0, 0]) < 0.35


def test_differences_of_maps_are_negative_here_and_there_and_sum_to_one_number(drawn):
    weights = drawn["differential_attention"][0]
    assert 0.1 < (weights < 0).mean() < 0.5
    assert np.ptp(weights.sum(-1)) < 1e-4


def test_hidden_keys_have_no_weight():
    panels = [panel for panel in heatmaps()["masked_softmax"] if panel.input == "notes"]
    for panel in panels:
        values = np.array(panel.values)
        assert (values == 0).any()
        assert np.abs(values.sum(-1) - 1).max() < 1e-5


def test_rotations_keep_lengths_and_encodings_get_slower():
    known = mechanisms()["rotary_embedding"]
    [(_, arrays, _)] = real_sample(known)
    rotated, _ = known.evaluate(**arrays)
    np.testing.assert_allclose(np.linalg.norm(rotated, axis=-1), np.linalg.norm(arrays["sequence"], axis=-1))
    *_, last = heatmaps()["positional_encoding"]
    waves = np.array(last.values)
    changes = np.abs(np.diff(np.sign(waves[:, ::2]), axis=0)).sum(0)  # of the sines
    assert (np.diff(changes) <= 0).all()
    assert last.input == "drawn"
