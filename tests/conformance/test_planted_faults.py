"""A fault planted into the eager implementation turns the suite red; the same file untouched stays green."""

from __future__ import annotations

import pytest

from harness import conformance
from harness.cases import matrix
from harness.registry import Implementation
from harness.values import NONCONFORMING, Status, Verdict
from tests.conformance.planted import FAULTS, planted


def accused(implementation: Implementation) -> list[Verdict]:
    """Return the verdicts of the quick suite that do not conform."""
    items = conformance.plan([implementation], matrix("quick"))
    return [verdict for item in items for verdict in conformance.run(item) if verdict.status in NONCONFORMING]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_quick_suite_is_red(fault, tmp_path):
    """At least one verdict is a failure, by measurement and not because the planted code raised."""
    failures = [verdict for verdict in accused(planted(fault, tmp_path)) if verdict.status is Status.FAIL]
    assert failures, f"the suite does not see: {fault}"


def test_the_same_file_without_a_fault_is_green(tmp_path):
    """What is accused above is the fault."""
    assert accused(planted("", tmp_path)) == []
