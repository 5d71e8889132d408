"""Wrong dropout is accused, and right dropout, however it is drawn, is not."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from attention_harness.bounds import perturbed
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.checks import dropout
from attention_harness.checks.expected import arguments, arrays_of
from attention_harness.execution import in_process
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import Status, Verdict
from attention_harness.mutation.patched import Mutant, eager
from attention_harness.reference import core
from attention_harness.registry import mechanisms

TRAINING = """\
        weights = torch.nn.functional.dropout(softmax(scores, **visibility), dropout)
        return weights @ value, weights
"""
HEADS = "scaled_dot_product-B4H4Hk4Lq5Lk7D16Dv8-float32-dropout=0.25-ordinary-contiguous"
DROPOUT = 0.25
DROPPED = [case for case in matrix("default") if case.options.get("dropout") == DROPOUT]

RIGHT = {
    "a mask of uniform numbers": (
        "kept = torch.rand(weights.shape) >= dropout\nweights = weights * kept / (1 - dropout)"
    ),
    "a Bernoulli mask": "weights = weights * torch.bernoulli(torch.full_like(weights, 1 - dropout)) / (1 - dropout)",
    "the product divided": (
        "weights = weights * (torch.rand(weights.shape) < 1 - dropout)\n"
        "return (weights @ value) / (1 - dropout), weights"
    ),
    "values by key": (
        "kept = (torch.rand(weights.shape) >= dropout).to(value.dtype) / (1 - dropout)\n"
        "return torch.einsum('...qk,...qk,...kv->...qv', weights, kept, value), weights"
    ),
}
WRONG = {
    "not divided by the keep probability": "weights = weights * (torch.rand(weights.shape) >= dropout)",
    "keep and drop exchanged": "weights = torch.nn.functional.dropout(weights, 1 - dropout)",
    "a fifth instead of a quarter": "weights = torch.nn.functional.dropout(weights, 0.2)",
    "nothing dropped": "weights = weights",
    "everything dropped": "weights = 0 * weights",
    "divided by the rate": "weights = weights * (torch.rand(weights.shape) >= dropout) / dropout",
    "the same mask at each call": (
        "kept = torch.rand(weights.shape, generator=torch.Generator().manual_seed(1)) >= dropout\n"
        "weights = weights * kept / (1 - dropout)"
    ),
    "the same mask for all queries": (
        "weights = weights * (torch.rand_like(weights[..., :1, :]) >= dropout) / (1 - dropout)"
    ),
    "the same mask for the batch": "weights = weights * (torch.rand_like(weights[:1]) >= dropout) / (1 - dropout)",
    "the same mask for all heads": "weights = weights * (torch.rand_like(weights[:, :1]) >= dropout) / (1 - dropout)",
    "whole rows dropped": "weights = weights * (torch.rand_like(weights[..., :1]) >= dropout) / (1 - dropout)",
    "normalised again": (
        "weights = weights * (torch.rand_like(weights) >= dropout)\n"
        "weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-9)"
    ),
    "scores dropped before the softmax": (
        "weights = softmax(torch.nn.functional.dropout(scores, dropout), **visibility)"
    ),
    "outputs dropped, not weights": "return torch.nn.functional.dropout(weights @ value, dropout), weights",
    "an output that is not finite": "weights = weights / 0",
    "another shape": "return (weights @ value)[..., :1], weights",
}


def code(change: str) -> str:
    """Return what stands under `if training:` with the change between the softmax and the sum."""
    return textwrap.indent(
        f"weights = softmax(scores, **visibility)\n{change}\nreturn weights @ value, weights\n", " " * 8
    )


def asked(put: str, stands: str = TRAINING, case_id: str = HEADS) -> Verdict:
    """Return the verdict of the check on eager with other code for training."""
    [case] = [case for case in DROPPED if case.id == case_id]
    item = plan_item(Mutant("dropout", "dropout", ((stands, put),)).implementation(), case)
    [verdict] = [verdict for verdict in run_checks(item) if verdict.check == "dropout"]
    return verdict


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("case_id", [case.id for case in DROPPED if case.mechanism == "scaled_dot_product"])
def test_right_dropout_is_not_accused(name, case_id):
    """Drawn in other ways; also where some rows see no key."""
    verdict = asked(code(RIGHT[name]), case_id=case_id)
    assert verdict.status is Status.PASS, verdict.reason


@pytest.mark.parametrize("name", WRONG)
def test_wrong_dropout_is_accused(name):
    """Each mutant by measurement."""
    verdict = asked(code(WRONG[name]))
    assert verdict.status is Status.FAIL, f"not seen: {name}, share {verdict.error_ratio}"


def test_a_small_loss_everywhere_is_accused():
    """At a rate of a tenth, not dividing by 0.9 loses a tenth: too little for one element, plain over all of them."""
    case = parse(HEADS.replace("dropout=0.25", "dropout=0.1"))
    change = WRONG["not divided by the keep probability"]
    for put, status in ((code(change), Status.FAIL), (code(RIGHT["a mask of uniform numbers"]), Status.PASS)):
        item = plan_item(Mutant("dropout", "dropout", ((TRAINING, put),)).implementation(), case)
        assert [v.status for v in run_checks(item) if v.check == "dropout"] == [status]


def test_dropout_outside_of_training_is_accused():
    """A mode that sticks: once in training, always in training."""
    stuck = (
        "    if training:\n",
        "    globals()['stuck'] = training = training or globals().get('stuck', False)\n    if training:\n",
    )
    verdict = asked(stuck[1], stuck[0])
    assert verdict.status is Status.FAIL
    assert "outside of it" in verdict.reason


@pytest.mark.parametrize("case", DROPPED, ids=lambda case: case.mechanism)
def test_contributions_say_what_any_mask_makes(case):
    """y' = y + sum_t c_t (m_t / k - 1): as the reference itself answers when a random mask drops its weights."""
    mechanism = mechanisms()[case.mechanism]
    tensors, options = arguments(case, arrays_of(case))
    parts = dropout.contributions(case)
    rng = np.random.default_rng(0)
    factors = []

    def dropped(scores, visible, policy):
        weights = core.softmax(scores, visible, policy)
        if not factors:  # a difference of two softmaxes is dropped as a whole: both by the same mask
            factors.append((rng.random(weights.shape) < 1 - DROPOUT) / (1 - DROPOUT))
        return weights * factors[0]

    whole = mechanism.evaluate(**tensors, **options)[0]
    found = perturbed.evaluate(mechanism.evaluate, tensors, options, dropped)
    [factor] = factors
    heads = factor.reshape(factor.shape[0], -1, *factor.shape[-2:])  # (B, heads, Lq, Lk)
    by_part = np.moveaxis(heads, (1, 3), (0, 1)).reshape(len(parts), *heads.shape[::2])  # (T, B, Lq)
    shape = (len(parts), len(whole), *(1,) * (whole.ndim - 3), whole.shape[-2], 1)
    assert np.allclose(whole + ((by_part.reshape(shape) - 1) * parts).sum(0), found, rtol=0, atol=1e-12)
    assert not np.allclose(whole, found, rtol=0, atol=1e-3)  # something was dropped


def test_false_alarms_of_the_statistics():
    """Exact dropout by the formula, 200 times: none is accused, and the worst share stays well below 1."""
    [case] = [case for case in DROPPED if case.id == HEADS]
    parts = dropout.contributions(case)
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(200):
        # A weight's mask belongs to its head, query and batch: one draw for all channels of a row.
        kept = rng.random((dropout.CALLS, *parts.shape[:-1], 1)) < 1 - DROPOUT
        errors = ((kept / (1 - DROPOUT) - 1) * parts).sum(1)
        shares.append(dropout.statistics(errors, parts, 1 - DROPOUT, np.zeros(parts.shape[1:])).error_ratio)
    assert max(shares) < 0.8
    assert np.median(shares) > 0.05  # it measures something


@pytest.mark.parametrize(
    "text",
    [
        "dot_product-B2H4Hk4Lq5Lk2D3Dv4-float16-causal=top_left+dropout=0.5-large_products-mixed-draw4096",
        "dot_product-B1H2Hk2Lq1Lk2D2Dv1-bfloat16-dropout=0.25-deep-contiguous",
    ],
)
def test_what_rounding_may_move_is_no_wrong_rate(text):
    """Where one key decides a row, the other's weight is less than its error bound, and varies by rounding alone."""
    assert "" == dropout.dropout.judge(in_process.subject(eager(), parse(text))).reason
