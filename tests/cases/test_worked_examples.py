"""Worked examples and heatmaps of a run: the references' numbers, for every mechanism, small enough to be read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_harness.cases.heatmaps import heatmaps
from attention_harness.cases.notes_sample import KEYS, QUERIES, VALUES
from attention_harness.cases.worked_examples import input_facts, observed, worked_examples
from attention_harness.model.mechanism_facts import LARGEST, Numbers
from attention_harness.reference.specification import KINDS
from attention_harness.registry import mechanisms

MECHANISM = pytest.mark.parametrize("known", mechanisms().values(), ids=mechanisms())


def array(numbers: Numbers) -> np.ndarray:
    """Return the numbers in their shape, NaN where there is none."""
    rows = [[[math.nan if value is None else value for value in row] for row in m.rows] for m in numbers.matrices]
    return np.array(rows, np.float64).reshape(numbers.shape)


@MECHANISM
def test_every_mechanism_has_an_example_that_can_be_read(known):
    """Its first example has all its numbers; steps end with the output, or with the weights where these are it."""
    first, *_ = worked_examples(known)
    assert all(step.computed.matrices for step in first.steps)
    assert all(given.numbers.matrices for given in first.given)
    assert first.steps[-1].name == ("weights" if known.returns_weights else "output")
    assert known.kind in KINDS
    assert [given.name for given in first.given] == [one.name for one in input_facts(known)]


@MECHANISM
def test_the_examples_are_those_of_the_reference(known):
    """The notes' examples are all there, with what they state and with what the reference computes."""
    found = {one.name: one for one in worked_examples(known) if one.of_notes}
    assert set(found) == {example.name for example in known.examples}
    for example in known.examples:
        shown = found[example.name]
        output, weights = known.evaluate(
            **{name: np.asarray(values, np.float64) for name, values in example.inputs.items()}, **example.options
        )
        steps = {step.name: step for step in shown.steps}
        for name, computed in (("output", output), ("weights", weights)):
            if name not in steps:
                continue
            assert steps[name].computed.shape == computed.shape
            if steps[name].computed.matrices:
                np.testing.assert_allclose(array(steps[name].computed), computed, rtol=1e-11)
        for name in ("scores", "weights", "output"):
            stated = getattr(example, name)
            if stated is not None and name in steps:
                np.testing.assert_allclose(array(steps[name].expected), np.asarray(stated, np.float64), rtol=1e-11)
        assert (shown.source, shown.digits, shown.remark) == (example.source, example.digits, example.remark)


@MECHANISM
def test_each_step_follows_from_the_one_before(known):
    """Weights are the softmax of the scores that are shown, a hidden key's left out; the output is as they say."""
    for example in worked_examples(known):
        steps = {step.name: array(step.computed) for step in example.steps if step.computed.matrices}
        if not {"scores", "weights"} <= set(steps) or known.name == "differential_attention":
            continue
        scores = np.where(np.isnan(steps["scores"]), -np.inf, steps["scores"])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        np.testing.assert_allclose(steps["weights"], weights / weights.sum(-1, keepdims=True), rtol=1e-7, atol=1e-300)
        value = {given.name: given.numbers for given in example.given}.get("value")
        if known.weighs_directly and value is not None:
            np.testing.assert_allclose(steps["output"], steps["weights"] @ array(value), rtol=1e-9)


@pytest.mark.parametrize("name", ["dot_product", "scaled_dot_product", "gaussian_kernel"])
def test_stated_scores_are_the_computed_ones(name):
    """-18, -1/2, -1/2, and the products of waist and chest: to the digits that are stored."""
    stated = [example for example in mechanisms()[name].examples if example.scores is not None]
    assert stated or name == "scaled_dot_product"
    for example in stated:
        [(_, scores), *_] = observed(mechanisms()[name], example.inputs, example.options)[0]
        assert scores.tolist() == np.asarray(example.scores, np.float64).tolist()


@MECHANISM
def test_numbers_are_bounded_and_formulas_are_steps(known):
    """No matrix is larger than can be read, and the LaTeX of each step is balanced."""
    for example in worked_examples(known):
        for step in example.steps:
            assert step.formula.count("{") == step.formula.count("}")
            for matrix in step.computed.matrices:
                assert len(matrix.rows) <= LARGEST


def test_the_sample_is_that_of_the_notes():
    """As the example of the dot product has it."""
    inputs = mechanisms()["dot_product"].example("waist_and_chest").inputs
    for name, sample in (("query", QUERIES), ("key", KEYS), ("value", VALUES)):
        assert np.asarray(inputs[name])[0, 0].tolist() == sample.tolist()


def test_every_mechanism_is_drawn_on_the_notes_numbers_and_on_real_input():
    """Weights are between 0 and 1 and sum to 1, where they are no difference of two."""
    drawn = heatmaps()
    assert set(drawn) == set(mechanisms())
    for name, panels in drawn.items():
        added = {"drawn"} if name == "positional_encoding" else set()
        assert {"notes", "recorded"} | added == {panel.input for panel in panels}
        assert len({(panel.title, panel.case) for panel in panels}) == len(panels)
        for panel in panels:
            values = np.array(panel.values, np.float64)
            assert np.isfinite(values).all()
            if panel.columns == "key" and name != "differential_attention":
                assert (values >= 0).all()
                np.testing.assert_allclose(values.sum(-1), 1, atol=1e-4)
