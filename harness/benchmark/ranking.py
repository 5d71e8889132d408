"""Measurements of one cell -> ranks: pure functions.

All arms of a cell met the same rounds, so that two that rest on the same clock compare directly: the median over rounds
of the log ratio in each pass, Student's interval over the passes, as with the baseline. The ranks: the fastest leads
rank 1; going down by estimated time, an implementation shares the rank unless it is *slower* than that rank's leader -
then it leads the next. Each is compared with a leader alone, so that ties need not be transitive for the ranks to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attention_harness.benchmark import statistics as judging
from attention_harness.model.measurement import Measurement
from attention_harness.model.student import interval


@dataclass(frozen=True, slots=True)
class Place:
    """An implementation's place. ratio, low, high: its time over the fastest's, with the interval.

    rank      1 for the fastest and its ties; the next rank counts all before it, as in sports
    answer    against the leader of its rank: leads, same, or inconclusive (no difference was found, none is excluded)
    seconds   median wall time of one call: of this run, not comparable with another's
    clock     which time the ratio is of: wall, or the thread's on the CPU where others' work took the core
    """

    rank: int
    implementation: str
    seconds: float
    ratio: float
    low: float
    high: float
    answer: str
    peak_bytes: int | None
    clock: str = "wall"


def unreliable(rows: Sequence[Measurement]) -> str:
    """Return why nothing can be ranked, or "": the A/A control differs, or nothing beside it holds."""
    beside = [row for row in rows if row.answer != "baseline"]
    if beside and all(row.answer == "unreliable" for row in beside):
        return beside[0].reason
    return next(filter(None, (judging.drifted(row.control_ratio or 1.0) for row in rows)), "")


def ranked(rows: Sequence[Measurement]) -> list[Place]:
    """Return the places of measured rows of one cell, fastest first."""
    order = sorted(rows, key=lambda row: row.ratio or _median(row))
    places: list[Place] = []
    leader = order[0]
    for position, row in enumerate(order, 1):
        answer = "leads" if row is leader else judging.judge(*_against(row, leader), _margin(rows))
        if answer == "slower":
            leader, answer = row, "leads"
        rank = position if row is leader else places[-1].rank
        middle, around = _against(row, order[0])
        around = min(around, 100.0)  # exp of more overflows; a single pass knows nothing
        bounds = (math.exp(middle - around), math.exp(middle + around))
        shown = "same" if answer == "faster" else answer  # an estimate behind the leader's: no difference that holds
        place = Place(rank, row.implementation, _median(row), math.exp(middle), *bounds, shown, row.peak_bytes)
        places.append(replace(place, clock=row.clock or "wall"))
    return places


def _margin(rows: Sequence[Measurement]) -> float:
    drifts = [abs(row.control_ratio - 1) for row in rows if row.control_ratio is not None]
    return max([judging.MARGIN, *drifts])


def _against(row: Measurement, leader: Measurement) -> tuple[float, float]:
    """Return the log ratio of two arms of a cell and the half width of its interval.

    Over the baseline instead of directly where one of them is it, a pass was lost, or they rest on different clocks:
    CPU time does not see an arm that waits.
    """
    if row is leader:
        return 0.0, 0.0
    clock = f"{row.clock or 'wall'}_s"
    ours, theirs = getattr(row, clock), getattr(leader, clock)
    pairs = [len(one) for one in ours] == [len(one) for one in theirs] and row.clock == leader.clock
    if row.ratio is not None and leader.ratio is not None and ("baseline" in (row.answer, leader.answer) or not pairs):
        return _over_baseline(row, leader)
    return interval([judging.log_ratio(a, b) for a, b in zip(ours, theirs, strict=False)], judging.LEVEL)


def _over_baseline(row: Measurement, leader: Measurement) -> tuple[float, float]:
    ours, theirs = row.ratio or 1.0, leader.ratio or 1.0
    return math.log(ours / theirs), math.hypot(_half(row), _half(leader))


def _half(row: Measurement) -> float:
    """Return the half width of the interval of a log ratio to the baseline; the baseline's own is exact."""
    if row.low is None or row.high is None:
        return 0.0 if row.answer == "baseline" else math.inf
    return math.log(row.high / row.low) / 2


def _median(row: Measurement) -> float:
    samples = sorted(seconds for one in row.wall_s for seconds in one)
    return samples[len(samples) // 2]
