"""Correct attentions that compute in another way are never accused, and one with a mistake in it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.case import Case
from attention_harness.model.verdict import Verdict
from attention_harness.mutation.campaign import select
from attention_harness.mutation.catalogue import variants
from attention_harness.mutation.judging import ACCUSES
from attention_harness.mutation.patched import EquivalentVariant

# One of every kind of other arithmetic; `python -m tox -e mutants` asks all of them, on the thorough matrix.
SAMPLE = (
    "scale folded into the query",
    "cosine by dividing the finished product",
    "additive over one concatenated layer",
    "kernel by the expanded square, one format wider",
    "mask added as minus infinity",
    "softmax in the log domain",
    "divided last",
    "online softmax in blocks of 1",
    "keys in 2 parts, merged by log-sum-exp",
    "compensated sum",
    "heads one after the other",
)
LONG = [
    Case("masked_softmax", {"B": 1, "H": 2, "Lq": 8, "Lk": keys}, "float32", {}, content)
    for keys in (65, 257, 1024)
    for content in ("ordinary", "shifted", "large")
]


def variant(name: str) -> EquivalentVariant:
    """Return the variant of this name."""
    [[], [found]] = select([name])
    return found


def verdicts(found: EquivalentVariant, cases) -> Iterator[Verdict]:
    """Yield the verdicts of a variant on the cases that it concerns."""
    implementation = found.implementation()
    own = [case for case in cases if case.mechanism in found.mechanisms()]
    return (v for item in plan_items([implementation], own) for v in run_checks(item))


@pytest.mark.parametrize("name", SAMPLE)
def test_a_correct_variant_is_not_accused(name):
    """On an eighth of the quick cases no verdict fails, gradients among them, and something is measured."""
    own = [case for case in matrix("quick") if case.mechanism in variant(name).mechanisms()]
    found = list(verdicts(variant(name), own[::8]))
    assert [] == [f"{v.check} {v.case}: {v.reason}" for v in found if v.status in ACCUSES]
    assert {"accuracy", "gradient"} <= {v.check for v in found if v.error_ratio is not None}


@pytest.mark.parametrize(
    ("name", "case"),
    [
        # Two keys whose scores are 1 or -1: four kinds of row, each of which errs alike.
        ("value columns one by one", "cosine-B17H256Hk256Lq2Lk2D1Dv1-float32-plain-ordinary-contiguous"),
        # Scores at the cap: 15 weights of 1/15, whose one rounding adds up.
        ("softmax by a reciprocal", "gaussian_kernel-B2H3Lq64Lk15D5Dv32-float16-softcap=1.5-shifted-expanded"),
        # 1 - sigmoid(lse - sink) where the sink weighs less than a rounding of 1.
        (
            "sinks by the sigmoid of the log-sum-exp",
            "dot_product-B2H3Hk3Lq5Lk7D8Dv6-float32-sinks=large-rising-contiguous",
        ),
        # exp(s - lse) and exp(s - max) / sum in one backward pass.
        ("softmax in the log domain", "masked_softmax-B2H2Lq64Lk15-float32-plain-falling-stepped"),
        # A hidden row that is NaN by its bias, and the mean once masked keys are added.
        (
            "fully masked rows are the mean by masks, NaN by biases, as declared",
            "gaussian_kernel-B2H2Lq5Lk7D16Dv16-float64-bias=full+causal=bottom_right+mask=full+valid_lens=query-large-offset",
        ),
        # A hidden row's mean, twenty keys of which cancel to less than the smallest normal number on the way.
        (
            "fully masked rows are the mean, sums below the normal numbers are zero, as declared",
            "gaussian_kernel-B2H2Lq16Lk17D6Dv8-float32-valid_lens=batch-both_ends-stepped",
        ),
        # Of 521 exponentials many are e^-0.3, added one after the other: their roundings are alike, and add up.
        (
            "softmax of the transposed scores",
            "gaussian_kernel-B5H2Lq3Lk521D8Dv6-float32-softcap=0.3-ordinary-contiguous",
        ),
    ],
)
def test_what_was_accused_once_is_not(name, case):
    """Found by whole campaigns, and in the row `jax`: these are all the ways in which a correct answer was accused."""
    found = list(verdicts(variant(name), [parse(case)]))
    assert [] == [f"{v.check}: {v.reason}" for v in found if v.status in ACCUSES]
    assert any(v.error_ratio for v in found)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return scores.softmax(-1)", "return scores.softmax(-1).masked_fill(empty, 0.0)"),
        ("return output.to(value.dtype)", "return output.to(value.dtype).masked_fill(output.abs() < 1e-35, 0.0)"),
    ],
)
def test_room_for_flushed_sums_is_no_room_for_zeros(right, wrong):
    """Zeros in place of a hidden row's mean are seen, and in place of its channels near the smallest number alone."""
    sound = variant("fully masked rows are the mean, sums below the normal numbers are zero, as declared")
    mistaken = replace(sound, patches=(*sound.patches, (right, wrong)))
    case = parse("gaussian_kernel-B2H2Lq16Lk17D6Dv8-float32-valid_lens=batch-both_ends-stepped")
    assert "accuracy" in {v.check for v in verdicts(mistaken, [case]) if v.status in ACCUSES}


@pytest.mark.parametrize("name", ["softmax summed key after key", "softmax by exponentials of base two"])
def test_long_rows_are_not_accused(name):
    """Rows of up to a thousand keys, summed in another order or with another exponential."""
    found = list(verdicts(variant(name), LONG))
    assert [] == [f"{v.check} {v.case}: {v.reason}" for v in found if v.status in ACCUSES]
    assert len(LONG) <= len([v for v in found if v.error_ratio is not None])


def test_every_variant_computes_otherwise():
    """Thirty of them at least, each reaching some mechanism."""
    assert 30 <= len(variants())
    for found in variants():
        assert found.mechanisms(), found.name


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("online softmax in blocks of 8", "total * shrink", "total"),
        ("keys in 2 parts, merged by log-sum-exp", "(total.log() + largest(part))", "largest(part)"),
        ("keys padded to a multiple of 16", "value=-math.inf", "value=0.0"),
        ("grouped heads by index", "// (query.shape[-3] // x.shape[-3])", "% x.shape[-3]"),
        ("cosine by dividing the finished product", "/ filled(sizes[1]).mT", ""),
        ("compensated sum", "- term)", "+ term)"),
    ],
)
def test_a_mistake_in_a_variant_is_seen(name, right, wrong):
    """Its own kind of mistake: the very variant that is not accused without it."""
    sound = variant(name)
    mistaken = replace(sound, patches=(*sound.patches, (right, wrong)))
    assert any(v.status in ACCUSES for v in verdicts(mistaken, matrix("quick")))
