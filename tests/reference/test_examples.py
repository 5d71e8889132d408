"""The worked examples of the notes: their inputs give their numbers and shapes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from attention_harness.bounds import ErrorBound, error_bounds, gamma
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES
from attention_harness.reference.specification import Example, Mechanism
from attention_harness.registry import mechanisms

EXAMPLES = [
    pytest.param(mechanism, example, id=f"{mechanism.name}.{example.name}")
    for mechanism in mechanisms().values()
    for example in mechanism.examples
]
PRINTED = [parameters for parameters in EXAMPLES if parameters.values[1].output is not None]
EXACT = next(field.default for field in fields(Example) if field.name == "digits")  # what rounds no number says
# Rows of shared/NOTES.md that hold a worked example -> the examples that hold it here.
ROWS = {
    1: {"projected.hidden_256_dot_product"},
    2: {"projected.hidden_256_cosine"},
    4: {"location.seq2seq"},
    10: {"gaussian_kernel.waist", "gaussian_kernel.waist_weights"},
    12: {"dot_product.waist_and_chest", "scaled_dot_product.waist_and_chest"},
    13: {"masked_softmax.valid_lens", "masked_softmax.valid_lens_per_query", "masked_softmax.spread_scores"},
    14: {"additive.valid_lens"},
    15: {"scaled_dot_product.valid_lens"},
}


def inputs_of(example: Example) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, np.float64) for name, array in example.inputs.items()}


def answer(mechanism: Mechanism, example: Example) -> dict[str, np.ndarray | None]:
    output, weights = mechanism.evaluate(**inputs_of(example), **example.options)
    return {"output": output, "weights": weights}


def error_bound(mechanism: Mechanism, example: Example) -> dict[str, ErrorBound | None]:
    made = error_bounds(mechanism.evaluate, inputs_of(example), example.options, "float64", Arithmetic())
    return dict(zip(("output", "weights"), made, strict=True))


@pytest.mark.parametrize(("mechanism", "example"), EXAMPLES)
def test_the_reference_gives_the_printed_numbers(mechanism, example):
    """Every number agrees to half a unit of the last decimal that the note prints, and every shape exactly."""
    given = answer(mechanism, example)
    for name, shape in example.shapes.items():
        assert given[name].shape == shape
    for name in ("output", "weights"):
        printed = getattr(example, name)
        if printed is not None:
            assert given[name].shape == np.shape(printed)
            assert np.abs(given[name] - printed).max() <= 0.5 * 10.0**-example.digits


@pytest.mark.parametrize(("mechanism", "example"), EXAMPLES)
def test_an_example_states_something(mechanism, example):
    """It has numbers or shapes to check, and names an input for every tensor of its mechanism."""
    assert example.output is not None or example.shapes
    assert list(example.inputs) == [declared.name for declared in mechanism.inputs]


@pytest.mark.parametrize(("mechanism", "example"), [given for given in PRINTED if "value" in given.values[1].inputs])
def test_another_answer_is_not_the_printed_one(mechanism, example):
    """The mean of all values, which a broken attention returns, is told apart wherever numbers are printed."""
    mean = inputs_of(example)["value"].mean(-2, keepdims=True)
    assert np.abs(mean - example.output).max() > 0.5 * 10.0**-example.digits


def test_every_row_of_the_notes_with_an_example_is_represented():
    """No worked example of the notes is missing, and none stands here that they do not have."""
    present = {parameters.id for parameters in EXAMPLES}
    missing = {row: names - present for row, names in ROWS.items() if names - present}
    assert missing == {}
    assert set() == present - set().union(*ROWS.values())


def test_the_products_of_waist_and_chest_are_the_printed_ones():
    """Q K^T is ((8717, 9998, 9998), (8125, 9312, 9312)): whole numbers, exact in float64."""
    example = mechanisms()["dot_product"].example("waist_and_chest")
    query, key = inputs_of(example)["query"][0, 0], inputs_of(example)["key"][0, 0]
    assert (query @ key.T).tolist() == [[8717, 9998, 9998], [8125, 9312, 9312]]


def test_the_far_waist_weighs_what_the_note_says():
    """The weights are 1.255e-8, 0.5 and 0.5, to the digits printed."""
    mechanism = mechanisms()["gaussian_kernel"]
    weights = answer(mechanism, mechanism.example("waist_weights"))["weights"].ravel()
    assert [f"{weight:.3e}" for weight in weights] == ["1.255e-08", "5.000e-01", "5.000e-01"]


@pytest.mark.parametrize("name", ["additive.valid_lens", "scaled_dot_product.valid_lens"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_keys_give_the_mean_of_the_valid_values_whatever_the_query_is(name, seed):
    """The note draws its queries at random: (2, 3, 4, 5) and (10, 11, 12, 13) come out of every draw."""
    own, _, example_name = name.partition(".")
    mechanism = mechanisms()[own]
    example = mechanism.example(example_name)
    normal = np.random.Generator(np.random.Philox(seed)).standard_normal
    given = inputs_of(example)
    given |= {name: normal(array.shape) for name, array in given.items() if name not in ("key", "value")}
    output, _ = mechanism.evaluate(**given, **example.options)
    allowed, _ = error_bounds(mechanism.evaluate, given, example.options, "float64", Arithmetic())
    assert (np.abs(output - example.output) <= allowed.bound).all()


@pytest.mark.parametrize("lens", [[2, 3], [[1, 3], [2, 4]]], ids=["per_batch", "per_query"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_scores_have_no_weight_past_their_length(lens, seed):
    """The note's scores are random in [0, 1): zeros stand past the length, positive weights before it."""
    scores = np.random.Generator(np.random.Philox(seed)).random((2, 1, 2, 4))
    weights, _ = mechanisms()["masked_softmax"].evaluate(scores, valid_lens=lens)
    valid = [[length] * 2 if np.ndim(length) == 0 else length for length in lens]
    assert (weights[:, 0] > 0).tolist() == [[[j < own for j in range(4)] for own in row] for row in valid]
    assert (np.abs(weights.sum(-1) - 1) <= gamma(2 * 4, DTYPES["float64"].roundoff)).all()  # sums of 4, and quotients


@pytest.mark.parametrize(("mechanism", "example"), [given for given in PRINTED if given.values[1].digits == EXACT])
def test_the_printed_slack_hides_no_error(mechanism, example):
    """Where the note's numbers are exact, the reference agrees within the rounding of float64."""
    given, allowed = answer(mechanism, example), error_bound(mechanism, example)
    for name in ("output", "weights"):
        printed = getattr(example, name)
        if printed is not None:
            assert (np.abs(given[name] - printed) <= allowed[name].bound).all()
