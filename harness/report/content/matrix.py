"""Mechanisms by implementations: what each cell says in words, and the reasons of what was not checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.report import words

GLYPHS = {
    "pass": "✓",
    "fail": "✗",
    "error": "✗",
    "crash": "✗",
    "timeout": "✗",
    "unexpected_pass": "✗",
    "known_failure": "◐",
    "unsupported": "–",
    "unavailable": "∅",
    "not_asked": "?",
    "none": "·",
}
"""State -> a sign, so that no colour is needed to tell it."""


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """What one implementation is worth on one mechanism.

    state   a status, or "none" where there is no verdict
    text    the status word, with the worst error ratio where it passed
    extras  what else is true of the cell, e.g. "12 unsupported"
    notes   numbers of the reasons, in `Matrix.notes`
    worst   the verdict with the largest error ratio
    counts  status -> how many verdicts; vacuous: passes that zeros or means would have passed as well
    """

    mechanism: str
    implementation: str
    state: str
    text: str
    extras: tuple[str, ...] = ()
    notes: tuple[int, ...] = ()
    worst: Verdict | None = None
    counts: Mapping[Status, int] = field(default_factory=dict)
    vacuous: int = 0

    @property
    def glyph(self) -> str:
        """The state as a sign."""
        return GLYPHS[self.state]

    @property
    def number(self) -> str:
        """What stands beside the sign: the worst error ratio of what passed, else how many there are."""
        if self.state == Status.PASS:
            return self.error_ratio
        return f"{self.counts[Status(self.state)]:,}" if self.state in self.counts else ""

    @property
    def informative(self) -> str:
        """The part of the passes that zeros or means would have failed."""
        passed = self.counts.get(Status.PASS, 0)
        return f"{math.floor(100 * (passed - self.vacuous) / passed)} %" if passed else ""

    @property
    def said(self) -> str:
        """The cell in words."""
        informative = f"{self.informative} of its passes informative" if self.informative else ""
        words_of = ", ".join(filter(None, (self.text, *self.extras, informative)))
        return f"{self.mechanism} on {self.implementation}: {words_of}"

    @property
    def error_ratio(self) -> str:
        return words.error_ratio(self.worst.error_ratio if self.worst else None)


@dataclass(frozen=True, slots=True)
class Note:
    """Why checks of an implementation were not run: a reason, how many checks, of which mechanisms."""

    number: int
    implementation: str
    status: str
    reason: str
    checks: int
    mechanisms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """rows: for each mechanism its cells, in the order of the implementations; and the notes under the table."""

    implementations: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]
    notes: tuple[Note, ...]


def matrix(verdicts: Sequence[Verdict], mechanisms: Iterable[str], implementations: Sequence[str]) -> Matrix:
    """Return a cell for every pair, whether or not anything was run there."""
    notes = _notes(verdicts, implementations)
    numbers = {(note.implementation, note.status, note.reason): note.number for note in notes}
    by_cell: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        by_cell.setdefault((verdict.mechanism, verdict.implementation), []).append(verdict)
    rows = tuple(
        (one, tuple(_cell(one, name, by_cell.get((one, name), []), numbers) for name in implementations))
        for one in mechanisms
    )
    return Matrix(tuple(implementations), rows, notes)


def _cell(
    mechanism: str, implementation: str, found: Sequence[Verdict], numbers: dict[tuple[str, str, str], int]
) -> MatrixCell:
    counts = Counter(v.status for v in found)
    wrong = any(counts[status] for status in NONCONFORMING)
    # a known failure beyond its error bound is not the share of the pass beside it
    judged = found if wrong or not counts[Status.PASS] else [v for v in found if v.status is Status.PASS]
    worst = max((v for v in judged if v.error_ratio is not None), key=lambda v: v.error_ratio or 0.0, default=None)
    state, text, extras = parts(counts, words.error_ratio(worst.error_ratio) if worst else "")
    if vacuous := sum(v.uninformative for v in found):
        extras = (*extras, f"{vacuous} uninformative")
    cited = {numbers[v.implementation, str(v.status), v.reason] for v in found if v.status in NOT_CHECKED}
    return MatrixCell(
        mechanism, implementation, state, text, extras, tuple(sorted(cited)), worst, dict(counts), vacuous
    )


def parts(counts: Counter[Status], error_ratio: str) -> tuple[str, str, tuple[str, ...]]:
    """Return state, text and extras of a cell: the worst status first, and every status that occurs is named."""
    wrong = [status for status in NONCONFORMING if counts[status]]
    skipped = [status for status in NOT_CHECKED if counts[status]]
    checked = sum(counts.values()) - sum(counts[status] for status in skipped)
    left_out = [f"{counts[status]} {status.replace('_', ' ')}" for status in skipped]
    known = counts[Status.KNOWN_FAILURE]
    upstream = [words.counted(known, "known failure")] if known else []
    if wrong:
        first, *more = (f"{status.replace('_', ' ')} ({counts[status]})" for status in wrong)
        return wrong[0].value, first, (*more, *upstream, f"of {checked} checked", *left_out)
    if counts[Status.PASS]:
        return Status.PASS.value, f"pass {error_ratio}", (*upstream, *left_out)
    if known:
        return Status.KNOWN_FAILURE.value, f"known failure ({known})", tuple(left_out)
    if skipped:
        *others, state = skipped  # what speaks least of a choice comes last
        number = f" ({counts[state]})" if others else ""
        return state.value, state.replace("_", " ") + number, tuple(left_out[:-1])
    return "none", "not run", ()


def _notes(verdicts: Iterable[Verdict], implementations: Sequence[str]) -> tuple[Note, ...]:
    """Return the distinct reasons, numbered in the order of the implementations."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for v in verdicts:
        if v.status in NOT_CHECKED:
            found.setdefault((v.implementation, str(v.status), v.reason), []).append(v.mechanism)
    ordered = sorted(found.items(), key=lambda one: implementations.index(one[0][0]))
    return tuple(Note(i, *key, len(of), tuple(dict.fromkeys(of))) for i, (key, of) in enumerate(ordered, 1))
