"""A right implementation that declares one mechanism conforms where its behaviours are measured: its own anchor."""

from __future__ import annotations

import pytest

from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import NONCONFORMING
from attention_harness.mutation.declared import anchors, narrowed
from attention_harness.mutation.patched import eager
from tests.conftest import DEEP


@pytest.mark.parametrize("mechanism", eager().capabilities.mechanisms)
def test_it_conforms_where_its_behaviours_are_measured(mechanism):
    """In one of its dtypes, and in all of them in `tox -e thorough`."""
    cases = sorted(anchors(mechanism), key=lambda case: case.fingerprint)
    for case in cases if DEEP else cases[:1]:
        found = list(run_checks(plan_item(narrowed(eager(), mechanism, case.dtype), case, row=True)))
        assert [] == [f"{v.check} {v.case}: {v.reason}" for v in found if v.status in NONCONFORMING]
        assert any(v.check.startswith("behaviour.") for v in found)
