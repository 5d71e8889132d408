"""A right implementation conforms under narrow declarations too: each has an anchor and projected cases of its own."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from attention_harness.cases.ids import parse
from attention_harness.cases.projection import cases_for
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.case import Case
from attention_harness.model.verdict import NONCONFORMING
from attention_harness.mutation.declared import anchors, narrowed
from attention_harness.mutation.patched import eager
from attention_harness.registry import Implementation
from tests.conftest import DEEP


def _accused(implementation: Implementation, cases: Iterable[Case]) -> list[str]:
    """Return what does not conform, and see that something was judged."""
    found = [verdict for case in cases for verdict in run_checks(plan_item(implementation, case, row=True))]
    assert found
    return [f"{one.check} {one.case}: {one.reason}" for one in found if one.status in NONCONFORMING]


@pytest.mark.parametrize("mechanism", eager().capabilities.mechanisms)
def test_it_conforms_where_its_behaviours_are_measured(mechanism):
    """In one of its dtypes, and in all of them in `tox -e thorough`."""
    cases = sorted(anchors(mechanism), key=lambda case: case.fingerprint)
    for case in cases if DEEP else cases[:1]:
        assert [] == _accused(narrowed(eager(), mechanism, case.dtype), [case])


@pytest.mark.parametrize("seed", range(100 if DEEP else 8))
def test_some_options_alone_are_not_accused(seed):
    """On a few cases, drawn like the declaration: a mechanism, a dtype and some of its options."""
    drawn = random.Random(seed)
    mechanism, dtype = drawn.choice(eager().capabilities.mechanisms), drawn.choice(eager().capabilities.dtypes)
    own = narrowed(eager(), mechanism, dtype)
    options = tuple(option for option in own.capabilities.options if drawn.random() < 0.3)
    own.module.__dict__["CAPABILITIES"] = replace(own.capabilities, options=options)
    assert [] == _accused(own, drawn.sample(list(cases_for(own.capabilities)), 30 if DEEP else 6))


def test_weights_below_every_normal_number_are_not_told_to_lean_to_one_side():
    """A large sink leaves weights of which float16 rounds most to 0."""
    case = parse("gaussian_kernel-B2H2Lq33Lk31D6Dv8-float16-sinks=large-shifted-offset")
    assert [] == _accused(narrowed(eager(), "gaussian_kernel", "float16"), [case])


def test_a_constant_that_all_rows_share_is_not_told_to_lean_to_one_side():
    """The encoding's sin(1) is rounded once for 257 sequences."""
    case = parse("self_attention-B257L2E1-bfloat16-positions=sinusoidal-ordinary-contiguous")
    assert [] == _accused(narrowed(eager(), "self_attention", "bfloat16"), [case])
