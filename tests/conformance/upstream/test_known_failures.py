"""What is declared about other people's libraries is still so: each declaration meets a case, and each reason holds."""

from __future__ import annotations

import fnmatch
import itertools
from dataclasses import replace

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.cases.projection import cases_for
from attention_harness.execution.plan import plan_item, plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import Status

SHIPPED = {i.name: i for i in registry.select([]) if getattr(i.module, "KNOWN_FAILURES", {})}
PATTERNS = [(name, pattern) for name, i in SHIPPED.items() for pattern in i.module.KNOWN_FAILURES]
FLOAT64 = {
    "a fully masked row is NaN": "dot_product-B2H2Hk2Lq5Lk7D16Dv8-float64-mask=full-ordinary-contiguous-draw1",
    "bottom-right causality": "dot_product-B2H2Hk2Lq7Lk5D16Dv8-float64-causal=bottom_right-ordinary-contiguous",
    "a bias beside lengths": "dot_product-B2H2Hk2Lq5Lk7D16Dv8-float64-bias=full+valid_lens=batch-ordinary-contiguous",
    "the root of the scale": "scaled_dot_product-B2H2Hk2Lq5Lk7D8Dv8-float64-plain-ordinary-contiguous",
}


@pytest.mark.parametrize(("name", "pattern"), PATTERNS)
def test_every_pattern_meets_a_planned_check(name, pattern):
    """A pattern that no check of the thorough tier matches would never be found mended: narrow it, or remove it."""
    implementation = SHIPPED[name]
    of_cases = pattern.partition(":")[2] or "*"
    tiers = (lambda: matrix("thorough"), lambda: cases_for(implementation.capabilities, "thorough"))
    every = itertools.chain.from_iterable(cases() for cases in tiers)
    cases = (case for case in every if fnmatch.fnmatchcase(case.on(implementation.device).id, of_cases))
    keys = (
        f"{check.name}:{item.case.id}"
        for item in plan_items([implementation], cases)
        if item.skip is None or item.skip[0] is Status.UNAVAILABLE
        for check in item.checks
    )
    assert any(fnmatch.fnmatchcase(key, pattern) for key in keys)


def test_every_tier_asks_for_a_known_failure_of_onnx_runtime():
    """Not only the thorough tier would find ONNX Runtime's operator mended."""
    implementation = SHIPPED["onnx_attention"]
    items = [item for item in plan_items([implementation], matrix("default")) if item.skip is None]
    met = {implementation.known_failure(check.name, item.case) for item in items for check in item.checks}
    assert set(implementation.module.KNOWN_FAILURES.values()) <= met


@pytest.mark.parametrize("why", FLOAT64)
def test_onnx_attention_rightly_leaves_float64_out(why):
    """Each reason for the narrow declaration still holds; when one passes, ONNX Runtime has mended it."""
    [implementation] = registry.select(["onnx_attention"])
    if implementation.unavailable():
        pytest.skip(implementation.unavailable())
    wider = replace(implementation.capabilities, dtypes=("float64",))
    module = type(implementation.module)("with_float64")
    module.__dict__.update(vars(implementation.module), CAPABILITIES=wider)
    item = plan_item(replace(implementation, module=module), parse(FLOAT64[why]))
    [accuracy] = [verdict for verdict in run_checks(item) if verdict.check == "accuracy"]
    assert accuracy.status in (Status.FAIL, Status.ERROR)
