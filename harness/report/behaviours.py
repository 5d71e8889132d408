"""Behaviours by implementations: what each was measured to do, beside what it declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attention_harness.model.verdict import Verdict
from attention_harness.report import words

PREFIX = "behaviour."


@dataclass(frozen=True, slots=True)
class Found:
    """What one implementation does. state: the verdict's status, or "none" where it was not measured."""

    state: str
    measured: str
    declared: str


@dataclass(frozen=True, slots=True)
class Behaviours:
    """Rows (behaviour, cells in the order of the implementations)."""

    implementations: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Found, ...]], ...]


def behaviours(verdicts: Sequence[Verdict]) -> Behaviours:
    """Return a row for each behaviour that was measured of any implementation."""
    measured = {(v.check.removeprefix(PREFIX), v.implementation): v for v in verdicts if v.check.startswith(PREFIX)}
    names = tuple(dict.fromkeys(implementation for _, implementation in measured))
    checks = dict.fromkeys(check for check, _ in measured)
    return Behaviours(
        names, tuple((check, tuple(_found(measured.get((check, name))) for name in names)) for check in checks)
    )


def _found(verdict: Verdict | None) -> Found:
    if verdict is None:
        return Found("none", words.NOTHING, "")
    state = verdict.status.replace("_", " ")
    if verdict.finding:
        return Found(state, verdict.finding, verdict.declared)
    return Found(state, verdict.reason or state, "")
