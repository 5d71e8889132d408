"""Where relations are judged: where the numbers of a case can be changed, and a sample of those cases for the suite."""

from __future__ import annotations

from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.checks.expected import acts_in_training
from attention_harness.checks.interface import Declaration
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

_LENGTHS = ("B", "Lq", "Lk", "L", "P")


def drawn(case: Case) -> bool:
    """Return whether the numbers are drawn and no option acts in training alone."""
    return case.content in DISTRIBUTIONS and not acts_in_training(case)


def changeable(implementation: Declaration, case: Case) -> bool:
    """Return whether the numbers are drawn, and no two places of a tensor are one place in memory."""
    return case.content in DISTRIBUTIONS and case.layout != "expanded"


# --- what the suite judges: functions of the case alone


def precise(case: Case) -> bool:
    """Return whether the dtype is single precision or better: a logical relation needs no other; nor training."""
    return case.format.single and not acts_in_training(case)


def _lengths(case: Case) -> list[int]:
    return [case.sizes[axis] for axis in _LENGTHS if axis in case.sizes]


def short(case: Case) -> bool:
    """Return whether ordinary numbers lie side by side in memory, with no length below 2 and none beyond 9."""
    ordinary = case.content == "ordinary" and case.layout == "contiguous"
    return ordinary and 2 <= min(_lengths(case)) and max(_lengths(case)) <= 9


def simple(case: Case) -> bool:
    """Return whether a case is short and its dtype is precise."""
    return precise(case) and short(case)


def plain(case: Case) -> bool:
    """Return whether a case is simple and has no options."""
    return simple(case) and set(case.options) <= set(mechanisms()[case.mechanism].choices)


def conditional(case: Case) -> bool:
    """Return whether no length is below 2; any content and options, since cases with a condition are few."""
    return precise(case) and min(_lengths(case)) > 1


def plain_single(case: Case) -> bool:
    """Return whether a case is plain in float32: for relations that prepare the implementation anew, in seconds."""
    return plain(case) and case.dtype == "float32"


def conditional_single(case: Case) -> bool:
    """Return whether a case is `conditional` in float32: for relations that prepare the implementation anew."""
    return conditional(case) and case.dtype == "float32"
