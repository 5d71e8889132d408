"""What is worth a build of seconds: of an implementation that is built for each structure of inputs, a sample."""

from __future__ import annotations

from attention_harness.checks.interface import Declaration
from attention_harness.model.case import Case

_SAMPLED = 10


def is_sampled(implementation: Declaration, case: Case) -> bool:
    """Return whether a case is one of those on which what needs a build of its own is judged: one in ten."""
    return not implementation.capabilities.builds or case.fingerprint % _SAMPLED == 0


def is_plain(case: Case) -> bool:
    """Return whether a case has ordinary numbers, contiguous in memory, and no options."""
    return case.content == "ordinary" and case.layout == "contiguous" and not case.options


def is_worth_a_build(implementation: Declaration, case: Case) -> bool:
    """Return whether a case is one of those, or a plain one in float32."""
    return (is_plain(case) and case.dtype == "float32") or is_sampled(implementation, case)
