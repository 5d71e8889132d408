"""A promise about fully masked rows that is not kept is told as that, not by a mutant of another promise."""

from __future__ import annotations

import pytest
from msgspec import structs

from attention_harness.model.verdict import Status, Verdict
from attention_harness.mutation.diagnosis import diagnose_run
from tests.registry.sources import TINY


def contradiction(finding: str, declared: str) -> Verdict:
    return Verdict(
        "mine",
        "scaled_dot_product",
        TINY,
        "behaviour.fully_masked_rows",
        Status.FAIL,
        reason="does",
        finding=finding,
        declared=declared,
    )


@pytest.mark.parametrize(("finding", "declared"), [("zero", "nan"), ("mean", "zero")])
def test_a_broken_promise_is_the_cause(finding, declared):
    """What it does and what it declares, and no mutant."""
    [found] = diagnose_run([contradiction(finding, declared)])
    assert found.matches == ()
    assert found.lines == [found.note]
    assert found.note == f"a row that sees no key is {finding} and declared {declared}: mend one or the other"


def test_a_behaviour_that_was_not_measured_is_no_broken_promise():
    """Where measuring ended in an error, nothing is known of such rows."""
    [found] = diagnose_run([structs.replace(contradiction("", ""), status=Status.ERROR)])
    assert "a row that sees no key" not in found.note
