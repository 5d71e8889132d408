"""A problem that its dtype cannot hold is not asked, and says so: nobody is blamed for an overflow of the formula."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks.expected import bound_of
from attention_harness.checks.subject import Subject
from attention_harness.execution.plan import plan_item, plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.verdict import Status, Verdict
from tests.registry.sources import write

SIZES = "scaled_dot_product-B2H2Hk2Lq2Lk3D4Dv2-float16"
DECLARED = 'dtypes=("float16", "float64"), options=("scale", "dropout")'


def verdicts(path, case: str, **parts: str) -> list[Verdict]:
    """Return the verdicts of an implementation file on a case."""
    [implementation] = registry.select([], [write(path, declared=DECLARED, **parts)])
    return [v for item in plan_items([implementation], [parse(case)]) for v in run_checks(item)]


def test_an_overflow_is_not_the_implementation_s(tmp_path):
    """Every check is unsupported with the reason, and the implementation is not even prepared."""
    found = verdicts(tmp_path / "wild.py", f"{SIZES}-scale=50000.0-ordinary-contiguous", body="raise SystemError")
    assert {verdict.check for verdict in found} >= {"accuracy", "purity", "second_call"}
    assert {verdict.status for verdict in found} == {Status.UNSUPPORTED}
    assert {verdict.reason for verdict in found} == {
        "out of the dtype's range: a step of the formula exceeds the largest float16"
    }


def test_the_same_problem_is_asked_where_it_fits(tmp_path):
    """In float64 it is a case like any other, and a wrong answer to it fails."""
    case = f"{SIZES}-scale=50000.0-ordinary-contiguous".replace("float16", "float64")
    found = {v.check: v.status for v in verdicts(tmp_path / "unscaled.py", case)}
    assert found["accuracy"] is Status.FAIL


PRODUCTS = "scaled_dot_product-B2H3Hk3Lq5Lk7D8Dv6-float16-plain-large_products-contiguous"
WIDE = """
def through(query, key, value, store):
    scores = store(query.float() @ key.float().mT) / query.shape[-1] ** 0.5
    return (scores.softmax(-1) @ value.float()).to(query.dtype)
"""
STORED = {
    "wide": ("lambda x: x", Status.PASS),
    "infinite": ("lambda x: x.masked_fill(x.abs() > 65504, torch.inf)", Status.FAIL),
    "saturated": ("lambda x: x.clamp(-65504, 65504)", Status.FAIL),
    "half": ("lambda x: x.half().float()", Status.FAIL),
}


@pytest.mark.parametrize("kernel", STORED)
@pytest.mark.parametrize("fused", [True, False])
def test_products_past_the_largest_half_number_are_asked_of_who_keeps_them_wider(kernel, fused, tmp_path):
    """Where every step is stored in half precision, as the default says, they are out of range for everybody."""
    store, status = STORED[kernel]
    scores = f"through(query, key, value, {store})"
    promise = ", arithmetic=Arithmetic(rounded_scores=False)" if fused else ""
    top = f"import torch\nfrom attention_harness import Arithmetic\n{WIDE}"
    file = write(tmp_path / "kernel.py", top=top, declared=f"dtypes=('float16',){promise}", body=f"return {scores}")
    [implementation] = registry.select([], [file])
    found = {v.check: v for v in run_checks(plan_item(implementation, parse(PRODUCTS)))}
    assert found["accuracy"].status is (status if fused else Status.UNSUPPORTED), found["accuracy"].reason


def test_a_second_call_stays_in_range(tmp_path):
    """Where the case fits and the other numbers of the second call do not, these are left out."""
    case = parse(f"{SIZES}-scale=15000.0-ordinary-contiguous-draw1")
    overflows = [bool(bound_of(replace(case, draw=seed), Arithmetic(), "zero")[0].overflow) for seed in (1, 2)]
    assert overflows == [False, True]
    scores = "(query @ key.mT).mul(15000.0)"
    found = {v.check: v for v in verdicts(tmp_path / "scaled.py", case.id, scores=scores)}
    assert found["second_call"].status is Status.PASS, found["second_call"].reason


def test_dropout_of_nothing_is_no_error(tmp_path):
    """Where no output comes out, dropout has nothing to be held to; found by fuzzing."""
    case = "scaled_dot_product-B1H1Hk1Lq0Lk1D1Dv1-float32-dropout=0.5-ordinary-contiguous"
    [implementation] = registry.select(["eager"])
    item = plan_item(implementation, parse(case))
    assert {v.check: v.status for v in run_checks(item)}["dropout"] is Status.PASS


def test_a_case_beyond_memory_accuses_nobody():
    """Tensors of terabytes: unsupported with the reason, and nothing is called."""
    case = parse("scaled_dot_product-B99999H3Hk3Lq99999Lk99999D16Dv8-float32-plain-ordinary-contiguous")
    [item] = plan_items(registry.select(["eager"]), [case])
    verdicts = list(run_checks(item))
    assert {v.status for v in verdicts} == {Status.UNSUPPORTED}
    assert all("too large" in v.reason for v in verdicts)


def test_what_does_not_fit_here_accuses_nobody(monkeypatch):
    """A case that is allowed, on a machine with too little memory for its reference."""

    def starved(*_):
        raise MemoryError

    monkeypatch.setattr(Subject, "error_bound", starved)
    [item] = plan_items(registry.select(["eager"]), [parse(f"{SIZES}-plain-ordinary-contiguous")])
    verdicts = list(run_checks(item))
    assert {v.status for v in verdicts} == {Status.UNSUPPORTED}
    assert all("memory" in v.reason for v in verdicts)
