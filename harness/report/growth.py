"""How time and memory grow over the sweep; which implementations no other beats in speed and accuracy. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attention_harness.model.case import Case
from attention_harness.model.measurement import SWEPT, Measurement
from attention_harness.report import words
from attention_harness.report.scaling import Growth, growth

HEADER = ("implementation", "exponent of time", "exponent of memory", "over lengths", "slopes between neighbours")
"""What a curve's `row` holds."""


@dataclass(frozen=True, slots=True)
class Curve:
    """An implementation over the sweep. seconds, bytes: length -> one call."""

    implementation: str
    seconds: Mapping[int, float]
    bytes: Mapping[int, float]

    @property
    def row(self) -> tuple[str, ...]:
        """Name, exponent of time and of memory with intervals, the lengths they rest on, and the local slopes."""
        time, memory = growth(self.seconds), growth(self.bytes)
        lengths = ", ".join(map(str, time.lengths)) if time else words.NOTHING
        local = ", ".join(f"{slope:.1f}" for slope in time.local) if time else words.NOTHING
        return self.implementation, _exponent(time), _exponent(memory), lengths, local


@dataclass(frozen=True, slots=True)
class Sweep:
    """The curves of one mechanism, dtype, direction and number of threads. least: length -> bytes that all need."""

    title: str
    curves: tuple[Curve, ...]
    least: Mapping[int, float]
    written: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Spot:
    """An implementation's speed and accuracy: geometric mean of its ratios, largest error ratio."""

    implementation: str
    ratio: float
    error_ratio: float
    ahead: bool


@dataclass(frozen=True, slots=True)
class Front:
    """Where implementations stand that were measured on all of these workloads."""

    title: str
    workloads: tuple[str, ...]
    spots: tuple[Spot, ...]


def _exponent(found: Growth | None) -> str:
    if found is None:
        return words.NOTHING
    if found.low is None or found.high is None:
        return f"{found.exponent:.2f}"
    return f"{found.exponent:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _kind(row: Measurement) -> tuple[str, str, str, int]:
    return row.mechanism, row.dtype, row.direction, row.threads


def _title(kind: tuple[str, str, str, int]) -> str:
    mechanism, dtype, direction, threads = kind
    parts = [mechanism, dtype, direction.replace("_", " and ")]
    return ", ".join([*parts, words.counted(threads, "thread")] if threads > 1 else parts)


def sweeps(rows: Sequence[Measurement]) -> tuple[Sweep, ...]:
    """Return the sweeps, each with a curve for every implementation at two lengths or more."""
    kinds: dict[tuple[str, str, str, int], list[Measurement]] = {}
    for row in rows:
        if row.status == "measured" and row.workload.startswith(SWEPT):
            kinds.setdefault(_kind(row), []).append(row)
    found = (_sweep(_title(kind), rows) for kind, rows in kinds.items())
    return tuple(sweep for sweep in found if sweep.curves)


def _sweep(title: str, rows: Sequence[Measurement]) -> Sweep:
    by_name: dict[str, dict[int, Measurement]] = {}
    for row in rows:
        by_name.setdefault(row.implementation, {})[_length(row)] = row
    curves = tuple(
        Curve(
            name,
            {n: _seconds(row) for n, row in measured.items()},
            {n: float(row.peak_bytes or 0) for n, row in measured.items()},
        )
        for name, measured in by_name.items()
        if len(measured) > 1
    )
    least = {_length(row): row.least_bytes for row in rows if row.least_bytes}
    written = {_length(row): row.written_bytes for row in rows if row.written_bytes}
    return Sweep(title, curves, dict(sorted(least.items())), dict(sorted(written.items())))


def _length(row: Measurement) -> int:
    return Case.from_id(row.case).sizes["Lk"]


def _seconds(row: Measurement) -> float:
    """Return the time of one call: the geometric mean of the passes' medians, on the clock that its answer rests on."""
    passes = row.cpu_s if row.clock == "cpu" and row.cpu_s else row.wall_s
    return statistics.geometric_mean(statistics.median(samples) for samples in passes)


def fronts(rows: Sequence[Measurement]) -> tuple[Front, ...]:
    """Return a front for each mechanism, dtype and direction in which two implementations or more can be placed."""
    kinds: dict[tuple[str, str, str, int], list[Measurement]] = {}
    for row in rows:
        placed = row.ratio is not None and row.error_ratio is not None and row.answer != "unreliable"
        if row.status == "measured" and placed:
            kinds.setdefault(_kind(row), []).append(row)
    found = (_front(_title(kind), rows) for kind, rows in kinds.items())
    return tuple(front for front in found if len(front.spots) > 1)


def _front(title: str, rows: Sequence[Measurement]) -> Front:
    """Place the implementations over the workloads that most of them share: only the same work compares."""
    by_name: dict[str, dict[str, Measurement]] = {}
    for row in rows:
        by_name.setdefault(row.implementation, {})[row.workload] = row
    most = max(map(len, by_name.values()))
    whole = {name: measured for name, measured in by_name.items() if 2 * len(measured) >= most}
    shared = [w for w in next(iter(whole.values())) if all(w in measured for measured in whole.values())]
    spots = [_spot(name, [measured[w] for w in shared]) for name, measured in whole.items()] if shared else []
    ahead = [s for s in spots if not any(_beats(other, s) for other in spots)]
    marked = tuple(Spot(s.implementation, s.ratio, s.error_ratio, s in ahead) for s in spots)
    return Front(title, tuple(shared), tuple(sorted(marked, key=lambda spot: spot.ratio)))


def _spot(name: str, rows: Sequence[Measurement]) -> Spot:
    ratio = math.exp(statistics.fmean(math.log(row.ratio or 1.0) for row in rows))
    return Spot(name, ratio, max(row.error_ratio or 0.0 for row in rows), ahead=False)


def _beats(one: Spot, other: Spot) -> bool:
    no_worse = one.ratio <= other.ratio and one.error_ratio <= other.error_ratio
    return no_worse and (one.ratio < other.ratio or one.error_ratio < other.error_ratio)
