"""Measurements of one cell -> ranks: pure functions.

All arms of a cell met the same rounds, so that any two compare directly: the median over rounds of the log ratio in
each pass, Student's interval over the passes, as with the baseline. The ranks: the fastest leads rank 1; going down by
estimated time, an implementation shares the rank unless it is *slower* than that rank's leader - then it leads the
next. Each is compared with a leader alone, so that ties need not be transitive for the ranks to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.bench import statistics as judging
from harness.measurements import Measurement


@dataclass(frozen=True, slots=True)
class Place:
    """An implementation's place. ratio, low, high: its time over the fastest's, with the interval.

    rank      1 for the fastest and its ties; the next rank counts all before it, as in sports
    answer    against the leader of its rank: leads, same, or inconclusive (no difference was found, none is excluded)
    seconds   median wall time of one call: of this run, not comparable with another's
    """

    rank: int
    implementation: str
    seconds: float
    ratio: float
    low: float
    high: float
    answer: str
    peak_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def unreliable(rows: Sequence[Measurement]) -> str:
    """Return why nothing can be ranked, or "": the twin of the baseline spoils its cell."""
    for row in rows:
        if row.answer == "unreliable":
            return row.reason
        if row.sentinel_ratio is not None and abs(row.sentinel_ratio - 1) > judging.SENTINEL:
            return f"the baseline's twin, whose ratio is 1, measured {row.sentinel_ratio:.3f}"
    return ""


def ranked(rows: Sequence[Measurement]) -> list[Place]:
    """Return the places of measured rows of one cell, fastest first."""
    clock = _clock(rows)
    order = sorted(rows, key=lambda row: _against(row, rows[0], clock)[0])
    places: list[Place] = []
    leader = order[0]
    for position, row in enumerate(order, 1):
        estimate, half = _against(row, leader, clock)
        answer = "leads" if row is leader else judging.judge(estimate, half, _margin(rows))
        if answer == "slower":
            leader, answer = row, "leads"
        rank = position if row is leader else places[-1].rank
        middle, around = _against(row, order[0], clock)
        around = min(around, 100.0)  # exp of more overflows; a single pass knows nothing
        bounds = (math.exp(middle - around), math.exp(middle + around))
        told = "same" if answer == "faster" else answer  # an estimate behind the leader's: no difference that holds
        places.append(Place(rank, row.implementation, _median(row), math.exp(middle), *bounds, told, row.peak_bytes))
    return places


def _clock(rows: Sequence[Measurement]) -> str:
    """Return the clock that all pairs are compared by: CPU time where one of the answers rests on it."""
    return "cpu" if all(row.cpu_s for row in rows) and any(row.clock == "cpu" for row in rows) else "wall"


def _margin(rows: Sequence[Measurement]) -> float:
    drifts = [abs(row.sentinel_ratio - 1) for row in rows if row.sentinel_ratio is not None]
    return max([judging.MARGIN, *drifts])


def _against(row: Measurement, leader: Measurement, clock: str) -> tuple[float, float]:
    """Return the log ratio of two arms of a cell and the half width of its interval."""
    if row is leader:
        return 0.0, 0.0
    ours, theirs = (getattr(one, f"{clock}_s") for one in (row, leader))
    if [len(one) for one in ours] != [len(one) for one in theirs]:  # a pass was lost: over the baseline instead
        return _over_baseline(row, leader)
    logs = [judging.log_ratio(a, b) for a, b in zip(ours, theirs, strict=True)]
    return judging.interval(logs, judging.LEVEL)


def _over_baseline(row: Measurement, leader: Measurement) -> tuple[float, float]:
    logs, halves = [], []
    for one in (row, leader):
        logs.append(math.log(one.ratio or 1))
        halves.append(math.log(one.high / one.low) / 2 if one.low and one.high else 0.0)
    return logs[0] - logs[1], math.hypot(*halves)


def _median(row: Measurement) -> float:
    samples = sorted(seconds for one in row.wall_s for seconds in one)
    return samples[len(samples) // 2]
