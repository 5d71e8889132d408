"""A fault planted into the eager implementation turns the suite red; the same file untouched stays green."""

from __future__ import annotations

import pytest

from harness import conformance, power
from harness.cases import matrix
from harness.faults import FAULTS, Fault, planted
from harness.values import NONCONFORMING, Status

# The faults without which nobody would trust a suite. `python -m tox -e faults` plants all of them.
NAMED = (
    "scale by d instead of its root",
    "last key dropped",
    "causal off by one, too strict",
    "causal sees one key of the future",
    "mask polarity",
    "softmax over the queries",
    "valid length of the neighbouring batch",
    "heads mixed with the sequence",
    "scores in bfloat16",
    "an input is scaled in place",
    "grouped heads tiled",
    "empty rows are the mean of the values",
    "fill with -50",
    "cross: residual missing",
    "encoding shifted by one position",
    "kernel without its half",
    "answers cached by shape",
    "strides misread as contiguous",
)


@pytest.mark.parametrize("name", NAMED)
def test_the_quick_suite_is_red(name):
    """The quick suite fails by measurement, and not because the planted code raised."""
    items = conformance.plan([planted(power.select(name))], matrix("quick"))
    statuses = {verdict.status for item in items for verdict in conformance.run(item)}
    assert Status.FAIL in statuses, f"the suite does not see: {name}"


def test_the_same_source_without_a_fault_is_green():
    """What is accused above is the fault."""
    items = conformance.plan([planted(Fault("none", "none", ()))], matrix("quick"))
    verdicts = [verdict for item in items for verdict in conformance.run(item)]
    assert [] == [verdict for verdict in verdicts if verdict.status in NONCONFORMING]


def test_every_fault_can_be_planted():
    """The source still has what each fault replaces, the result compiles, and no name stands twice."""
    assert len(FAULTS) == len({fault.name for fault in FAULTS})
    for fault in FAULTS:
        assert planted(fault).name == f"fault:{fault.name}"


def test_a_missed_fault_is_told():
    """A planted change that alters nothing is reported as missed, with its name, and never as caught."""
    nothing = power.Outcome("changes nothing", "none", None, 7)
    assert "MISSED changes nothing (none)" in power.table([nothing])
    assert "caught 0 of 1 planted faults in 7 checks" in power.table([nothing])
