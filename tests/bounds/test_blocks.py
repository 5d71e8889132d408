"""The error bound of a long problem, computed over blocks of its queries, is the error bound of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.bounds import PAIRS, ErrorBound, blocked, blocks, error_bounds, pairs, splits
from attention_harness.cases import inputs, random
from attention_harness.cases.ids import parse
from attention_harness.checks import subject
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.model.verdict import Status
from attention_harness.registry import implementations, mechanisms
from tests.conftest import DEEP

ARITHMETICS = (Arithmetic(), Arithmetic(rounded_scores=False, split_keys=True), Arithmetic(scaled_inputs=True))
CUT = [name for name, known in mechanisms().items() if known.scores and splits(known)]
LONG = "scaled_dot_product-B1H1Hk1Lq2048Lk2048D64Dv64-float32-{}-ordinary-contiguous-draw1"


def problem(case: Case, fully_masked_rows: str = "zero"):
    known = mechanisms()[case.mechanism]
    given = inputs.exact(inputs.tensors(case))
    tensors = {declared.name: given.pop(declared.name) for declared in known.inputs}
    return known, tensors, given | inputs.arguments(case) | {"fully_masked_rows": fully_masked_rows}


def assert_same(one: ErrorBound, other: ErrorBound, float64: ErrorBound) -> None:
    """Bits alike, but for what BLAS adds up in another order.

    Values may differ as two evaluations in float64 may: by that format's error bound. Bounds and deviations, which say
    how
    large an error is, agree to 1 part in 2^16, and to some units of float64 where the format is that: a weight's
    bound is exp(x) / sum - 1 of it, whose numbers near 1 are rounded.
    """
    assert_near(one.value, other.value, float64.bound)
    for name in ("bound", "deviation"):
        a, b = getattr(one, name), getattr(other, name)
        assert_near(a, b, 2.0**-16 * a + 32 * 2.0**-53 * np.abs(np.nan_to_num(one.value)))
    for name in ("linear", "empty"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.overflow == other.overflow


def assert_near(one, other, allowed) -> None:
    assert one.shape == other.shape
    np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
    there = np.isfinite(one)
    assert (np.abs(one - other)[there] <= allowed[there]).all()


# BLAS adds up in another order. It moves scores of 1e12, and so the weights' bounds, by more than is allowed. And it
# moves a power of two to just below itself, where a rounding is half as large: the answers to "exact" are such.
EXCLUDED = ("far_below", "deep", "exact")


@settings(max_examples=40, deadline=None, derandomize=not DEEP)
@given(
    case=random.cases_of(mechanisms=CUT).filter(lambda case: case.sizes["Lq"] > 1 and case.content not in EXCLUDED),
    rows=st.integers(1, 9),
    arithmetic=st.sampled_from(ARITHMETICS),
    fully_masked_rows=st.sampled_from(("zero", "nan", "mean")),
)
def test_blocks_are_the_whole(case, rows, arithmetic, fully_masked_rows):
    """Values, bounds and deviations; which rows are empty; whether the dtype can hold it."""
    known, tensors, options = problem(case, fully_masked_rows)
    whole, _ = error_bounds(known.evaluate, tensors, options, case.dtype, arithmetic)
    parts = blocked(known, tensors, options, case.dtype, arithmetic, rows)
    float64, _ = error_bounds(known.evaluate, tensors, options, "float64", Arithmetic())
    assert_same(whole, parts, float64)


def test_every_mechanism_is_cut_but_four():
    """One has no queries of its own, the others no scores: the test above passes no other by."""
    whole = {"self_attention", "positional_encoding", "rotary_embedding", "linear_attention"}
    assert whole == set(mechanisms()) - set(CUT)


@pytest.mark.parametrize("option", ["causal=bottom_right", "valid_lens=query"])
def test_a_long_problem_in_small_blocks(option):
    """2,048 queries and keys: blocks of 100 rows, of which the last is short, are the blocks that are taken."""
    case = parse(LONG.format(option))
    known, tensors, options = problem(case)
    assert pairs(known, case.sizes) == 4 * PAIRS
    assert blocks.rows_of(known, case.sizes) == 512
    taken = subject.bound_of(case, Arithmetic(), "zero")
    small = blocked(known, tensors, options, case.dtype, Arithmetic(), 100)
    float64 = blocked(known, tensors, options, "float64", Arithmetic(), 100)
    assert_same(taken[0], small, float64)
    assert taken[1] is None


def asked(case: Case, change=lambda output: output):
    """Return the verdicts of torch's fused kernel on a case, with a defect, by check."""
    found = implementations()["torch_sdpa"]

    class Module:
        CAPABILITIES = found.capabilities

        @staticmethod
        def prepare(case):
            inner = found.module.prepare(case)
            return lambda **tensors: change(inner(**tensors))

    item = plan_item(replace(found, module=Module), case)
    return {verdict.check: verdict for verdict in run_checks(item)}


def test_a_long_problem_is_judged_by_its_output():
    """Accuracy and purity are asked; what needs all scores at once is unsupported, and says so."""
    verdicts = asked(parse(LONG.format("plain")))
    assert {"accuracy", "purity"} == {name for name, verdict in verdicts.items() if verdict.status is Status.PASS}
    others = [verdict for verdict in verdicts.values() if verdict.status is not Status.PASS]
    assert {"gradient"} <= {verdict.check for verdict in others}
    reason = "needs all scores at once, and there are more than 1,048,576"
    assert {(Status.UNSUPPORTED, reason)} == {(verdict.status, verdict.reason) for verdict in others}


@pytest.mark.parametrize("row", [0, 511, 512, 2047])
def test_one_wrong_element_of_a_long_problem_is_seen(row):
    """In the first row, on both sides of a border between blocks, and in the last."""

    def change(output):
        output[0, 0, row, 3] += 1e-5
        return output

    verdict = asked(parse(LONG.format("plain")), change)["accuracy"]
    assert (Status.FAIL, (0, 0, row, 3)) == (verdict.status, verdict.where)


TOO_LARGE = {
    "scaled_dot_product-B1H1Hk1Lq16384Lk16384D64Dv64-float32-mask=query-ordinary-contiguous": "mask has more than",
    "scaled_dot_product-B1H1Hk1Lq16384Lk16384D64Dv64-float32-bias=full-ordinary-contiguous": "bias has more than",
    "scaled_dot_product-B1H1Hk1Lq9999999Lk9D64Dv64-float32-plain-ordinary-contiguous": "query has more than",
    "masked_softmax-B1H1Lq16384Lk16384-float32-plain-ordinary-contiguous": "scores has more than",
    "self_attention-B1L2048E64-float32-positions=none-ordinary-contiguous": "cannot be computed over blocks",
    "scaled_dot_product-B1H1Hk1Lq99999Lk99999D8Dv8-float32-plain-ordinary-contiguous": "more than 536,870,912 scores",
    "scaled_dot_product-B64H64Hk64Lq64Lk1024D1Dv1-float32-plain-ordinary-contiguous": "scores of one query",
}


@pytest.mark.parametrize("text", TOO_LARGE)
def test_what_is_too_large_is_not_begun(text):
    """Every check is planned and unsupported with the reason; nothing is drawn, and no implementation is called."""

    def called(output):
        raise AssertionError("called")

    verdicts = asked(parse(text), called)
    assert verdicts
    for verdict in verdicts.values():
        assert Status.UNSUPPORTED is verdict.status
        assert TOO_LARGE[text] in verdict.reason or "not declared" in verdict.reason
