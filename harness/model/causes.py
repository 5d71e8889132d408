"""Which failures have one cause, as far as their reasons tell: they are reported once, with their number."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attention_harness.model.verdict import Verdict

_TENSORS = ("query", "key", "value", "sequence", "context", "scores")
_NUMBER = re.compile(r"(?<![\w.=])[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?![A-Za-z_])")


def without_numbers(reason: str) -> str:
    """Return a reason without its numbers and without which of the main tensors it names; names of cases stay."""
    words = _NUMBER.sub("#", reason).split()
    return " ".join("#" if _is_number(word) or word in _TENSORS else word for word in words)


def _is_number(word: str) -> bool:
    try:
        float(word.strip("()[]{},;:"))
    except ValueError:
        return False
    return True


def cause(verdict: Verdict) -> tuple[str, str, str]:
    """Return what a failure has in common with those of the same cause: implementation, status and check or reason.

    A wrong number is of its check. Whatever has no number, such as an exception, is of its reason, in every check.
    """
    measured = verdict.error_ratio is not None or verdict.error is not None
    what = f"check {verdict.check}" if measured else without_numbers(verdict.reason)
    return verdict.implementation, verdict.status, what


def by_cause(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Return the failures of each cause, in the order in which they came; the most frequent cause first."""
    found: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(cause(verdict), []).append(verdict)
    return sorted(found.values(), key=len, reverse=True)
