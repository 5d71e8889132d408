"""What a row gets that sees no key, by the way of hiding, is held to what is declared; no check is switched off."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from attention_harness import Capabilities, Case, HarnessError
from attention_harness.cases.matrix import matrix
from attention_harness.model.verdict import NONCONFORMING, Status
from attention_harness.mutation.campaign import select
from attention_harness.mutation.catalogue import variants
from attention_harness.reference.core import words_of_rows
from tests.checks.behaviour import made as m
from tests.checks.gradients.kernel import asked

BOTH = {"mask": "mean", "bias": "nan"}
CHECKS = (
    "accuracy",
    "gradient",
    "gradient_alone",
    "second_derivative",
    "relation.added_keys",
    "relation.masked_content",
    "relation.causal_future",
    "relation.causal_gradient",
)


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return cases with something that hides keys."""
    of_mechanisms = ("scaled_dot_product", "multi_head", "masked_softmax")
    found = [case for case in matrix("default") if case.mechanism in of_mechanisms and case.format.single]
    return tuple(case for case in found if {"mask", "bias", "causal", "valid_lens", "window"} & case.options.keys())


def fails(implementation, check: str) -> set[str]:
    """Return the options of the cases where a check accuses."""
    verdicts = [v for v in asked(implementation, cases(), (check,)) if v.status in NONCONFORMING]
    wrong = [v for v in verdicts if v.status is Status.FAIL]
    assert wrong == verdicts
    return {name for verdict in wrong for name in Case.from_id(verdict.case).options}


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("NaN declared under biases alone, zero given", "accuracy"),
        ("the mean declared under masks, given under lengths too", "accuracy"),
        ("the mean as declared, hidden scores are only low", "relation.masked_content"),
        ("the mean as declared, hidden scores are only low", "relation.added_keys"),
        ("the mean as declared, a gradient by the future", "relation.causal_gradient"),
        ("NaN as declared, the softmax constant in second derivatives", "second_derivative"),
    ],
)
def test_a_policy_switches_no_check_off(name, check):
    """What is wrong in rows that see a key, or in the rows of one way to hide, is seen under each policy."""
    [[mutant], []] = select([name])
    assert fails(mutant.implementation(), check)


DECLARED = {variant.name: variant for variant in variants() if variant.kind == "fully masked rows"}


@pytest.mark.parametrize("name", DECLARED)
def test_what_keeps_its_policy_is_not_accused(name):
    """By all checks that look at rows which see no key."""
    implementation = DECLARED[name].implementation()
    assert not {check: found for check in CHECKS if (found := fails(implementation, check))}


def test_the_behaviour_tells_the_words_by_way():
    """A declaration that names both passes; another one fails, with the line that would be kept."""
    options = ("mask", "bias", "valid_lens", "causal_bottom_right")

    def attend(scores, value, visible):
        by_causality = visible is not None and visible.ndim == 2
        return (m.right if by_causality else m.mean_rows)(scores, value, visible)

    rest = {"mask": "mean", "bias": "mean", "valid_lens": "mean"}
    judged = m.ask("fully_masked_rows", m.made(attend, options=options, fully_masked_rows=rest))
    assert ("mean (mask, bias, valid_lens); zero (causal)", "") == (judged.finding, judged.reason)
    assert "mask: mean, bias: mean, valid_lens: mean" == judged.declared
    wrong = m.ask("fully_masked_rows", m.made(attend, options=options, fully_masked_rows={"mask": "mean"}))
    assert wrong.reason.endswith(f"; it keeps fully_masked_rows={rest | {'causal': 'zero'}}")


def test_the_word_of_a_row_is_that_of_the_way_that_hides_it():
    """Whole rows first, in the policy's order; then rows that no way hides alone; ways without a word give zero."""
    mask = np.array([[False, False], [True, True], [False, True], [True, False], [False, False]])
    bias = np.array([[0.0, 0.0], [-np.inf, -np.inf], [0.0, -np.inf], [0.0, 0.0], [-np.inf, -np.inf]])
    policy = Capabilities(("cosine",), fully_masked_rows=BOTH).fully_masked_rows
    words = words_of_rows(policy, (1, 1, 5, 2), mask=mask, bias=bias, causal=None)
    assert ["mean", "nan", "mean", "mean", "mean"] == words.ravel().tolist()
    lens = words_of_rows(policy, (1, 1, 1, 2), valid_lens=np.array([0]), mask=np.array([[True, False]]))
    assert ["zero"] == lens.ravel().tolist()
    assert ["mean"] == words_of_rows("mean", (1, 2)).ravel().tolist()


def test_a_policy_by_way_that_cannot_be_meant():
    """A word that is none, and an option that hides nothing. What can be meant is a key of caches, as pairs."""
    with pytest.raises(HarnessError, match="fully_masked_rows 'none' is none of zero, nan, mean"):
        Capabilities(("cosine",), fully_masked_rows={"mask": "none"})
    with pytest.raises(HarnessError, match="option that hides keys 'softcap'"):
        m.validate(m.made(m.right, fully_masked_rows={"softcap": "nan"}))
    declared = Capabilities(("cosine",), fully_masked_rows=BOTH)
    assert {declared} == {replace(declared), Capabilities(("cosine",), fully_masked_rows=tuple(BOTH.items()))}
