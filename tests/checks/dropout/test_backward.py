"""The backward pass of dropout, and what a seed fixes: with the mutants and variants of the catalogue."""

from __future__ import annotations

import pytest
import torch

from attention_harness import registry
from attention_harness.cases.projection import cases_for
from attention_harness.model.verdict import Verdict
from attention_harness.mutation.catalogue import mutants, variants
from tests.checks.behaviour import made as m
from tests.checks.gradients.kernel import asked

EAGER = registry.implementations()["eager"]
CASES = [
    case
    for case in cases_for(EAGER.capabilities, "quick")
    if case.mechanism == "scaled_dot_product" and "dropout" in case.options
]
WRONG = {one.name: one for one in mutants() if one.name.startswith("dropout: the backward pass")}
RIGHT = {one.name: one for one in variants() if one.name.startswith("dropout ")}


def judged(implementation) -> list[Verdict]:
    """Return the verdicts of the check."""
    found = asked(implementation, CASES, ("dropout_gradient",))
    assert found
    return found


@pytest.mark.parametrize("name", WRONG)
def test_another_mask_backwards_is_seen(name):
    """The reason gives both sides and what rounding allows."""
    failed = [verdict for verdict in judged(WRONG[name].implementation()) if verdict.reason]
    assert failed
    assert "the backward pass does not drop what the forward pass dropped: <dV, V> is" in failed[0].reason


@pytest.mark.parametrize("name", [*RIGHT, "eager"])
def test_the_same_mask_is_not_accused(name):
    """The slack is an order of magnitude wider than what right passes differ by, and no more is needed of a check."""
    found = judged(EAGER if name == "eager" else RIGHT[name].implementation())
    assert [] == [verdict.reason for verdict in found if verdict.reason]
    assert max(verdict.error_ratio for verdict in found) > 0  # it compares something


@pytest.mark.parametrize(
    ("generator", "finding"),
    [
        (lambda: None, "fixes the draw"),
        (lambda: torch.Generator().manual_seed(3), "fixes the draw; another one draws the same"),
        (lambda: (lambda one: (one.seed(), one)[1])(torch.Generator()), "does not fix the draw"),
    ],
)
def test_what_a_seed_fixes(generator, finding):
    """Measured, and nothing is claimed of it."""
    implementation = m.made(m.right, options=("dropout",))

    def prepare(case):
        rate = case.options.get("dropout", 0.0)

        def call(query, key, value, training=False):
            weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
            if training:
                weights = weights * (torch.rand(weights.shape, generator=generator()) >= rate) / (1 - rate)
            return weights @ value

        return call

    implementation.module.prepare = prepare
    judgement = m.ask("seed", implementation)
    assert (finding, "no claim", "") == (judgement.finding, judgement.declared, judgement.reason)
