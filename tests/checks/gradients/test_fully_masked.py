"""Gradients where a row sees no key: of every kind of tensor, and by both ways to ask."""

from __future__ import annotations

import math

import pytest

from attention_harness import Capabilities
from attention_harness.cases import inputs
from attention_harness.cases.projection import cases_for
from attention_harness.checks.expected import fully_masked_rows
from attention_harness.checks.gradients import first_bounds, floating, has_gradient
from attention_harness.model.verdict import NONCONFORMING, Status
from attention_harness.mutation.campaign import select
from attention_harness.mutation.declared import narrowed
from attention_harness.options import capabilities as every_option
from attention_harness.registry import implementations, mechanism
from tests.checks.gradients.kernel import asked


def _cases(name: str):
    """Yield cases of the default tier with rows that see no key, and rows that see some: small ones first."""
    options = tuple(option for option in every_option() if option in mechanism(name).options)
    declared = narrowed(implementations()["eager"], name, "float32")
    every = cases_for(Capabilities((name,), options=options))
    for case in sorted(every, key=lambda case: math.prod(case.sizes.values())):
        if max(case.sizes.values()) <= 33 and has_gradient(declared, case):
            rows = fully_masked_rows(case)
            if rows.any() and not rows.all():
                yield case


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("scaled_dot_product", {"query", "key", "value", "bias", "scale"}),
        ("gaussian_kernel", {"w", "bias"}),
        ("location", {"W", "b", "W_c", "b_c"}),
        ("additive", {"W_q", "W_k", "w_v"}),
    ],
)
def test_each_tensor_has_a_gradient_to_judge_beside_such_a_row(name, tensors):
    """In some case it is larger than its error bound, so that it cannot be missing."""
    arithmetic, left = Capabilities((name,)).arithmetic, set(tensors)
    for case in _cases(name):
        if left & set(floating(inputs.tensors(case))):
            bounds = {one: bound for one, bound in first_bounds(case, arithmetic, "zero").items() if one in left}
            left -= {one for one, bound in bounds.items() if abs(bound.value).max() > bound.bound.max()}
        if not left:
            break
    assert not left


@pytest.mark.parametrize(
    ("mutant", "name", "tensor"),
    [
        ("gradient of a learned scale by rows that see no key", "scaled_dot_product", "scale"),
        ("gradient of w by rows that see no key", "gaussian_kernel", "w"),
        ("gradient of a bias by rows that see no key", "scaled_dot_product", "bias"),
        ("gradient of the keys lost by .backward() of all where a row sees no key", "scaled_dot_product", "key"),
    ],
)
def test_a_gradient_that_is_wrong_for_such_a_row_alone_is_seen(mutant, name, tensor):
    """By the check of all gradients; the untouched source passes in the same case."""
    [[made], []] = select([mutant])
    wrong, right = (narrowed(one, name, "float32") for one in (made.implementation(), implementations()["eager"]))
    for case in (case for case in _cases(name) if tensor in inputs.tensors(case)):
        if any(v.status is Status.FAIL for v in asked(wrong, [case], ("gradient",))):
            assert not any(v.status in NONCONFORMING for v in asked(right, [case], ("gradient",)))
            return
    raise AssertionError("not seen")
