"""How time and memory grow over the sweep; which implementations no other beats in speed and accuracy. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from attention_harness.model.case import Case
from attention_harness.model.measurement import SWEPT, Measurement
from attention_harness.model.student import student_quantile
from attention_harness.report import words

HEADER = ("implementation", "exponent of time", "exponent of memory", "over lengths")
"""What a curve's `row` holds."""

LENGTHS = 4  # the longest so many decide: shorter calls are made of overhead
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Growth:
    """quantity ~ length ** exponent over `lengths`; low and high: Student's interval from the residuals.

    intercept  log of the quantity that the fit has at length 1
    """

    exponent: float
    low: float | None
    high: float | None
    lengths: tuple[int, ...]
    intercept: float

    def at(self, length: int) -> float:
        """Return the fit's value at a length."""
        return math.exp(self.intercept + self.exponent * math.log(length))


@dataclass(frozen=True, slots=True)
class Curve:
    """An implementation over the sweep. seconds, bytes: length -> one call."""

    implementation: str
    seconds: Mapping[int, float]
    bytes: Mapping[int, float]

    @property
    def row(self) -> tuple[str, ...]:
        """Name, exponent of time and of memory with intervals, and the lengths that they rest on."""
        time, memory = growth(self.seconds), growth(self.bytes)
        lengths = ", ".join(map(str, time.lengths)) if time else words.NOTHING
        return self.implementation, exponent(time), exponent(memory), lengths


@dataclass(frozen=True, slots=True)
class Sweep:
    """The curves of one mechanism, dtype, direction and number of threads.

    least, written  length -> bytes that all need, and that the scores take
    placed          the rows, each with its length
    """

    title: str
    curves: tuple[Curve, ...]
    least: Mapping[int, float]
    written: Mapping[int, float]
    placed: tuple[tuple[Measurement, int], ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """An implementation's speed and accuracy: geometric mean of its ratios, largest error ratio."""

    implementation: str
    ratio: float
    error_ratio: float
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Front:
    """Where implementations stand that were measured on all of these workloads."""

    title: str
    workloads: tuple[str, ...]
    spots: tuple[Spot, ...]
    mechanism: str
    dtype: str
    direction: str


def growth(values: Mapping[int, float]) -> Growth | None:
    """Return the fit of log(value) on log(length) by least squares over the longest lengths; None below two lengths.

    values: length -> seconds or bytes of one call. The residuals have as many degrees of freedom as there are lengths
    but two; with two lengths there is a slope and no interval.
    """
    lengths = sorted(length for length, value in values.items() if value > 0 and length > 0)[-LENGTHS:]
    if len(lengths) < 2:
        return None
    x, y = [math.log(n) for n in lengths], [math.log(values[n]) for n in lengths]
    slope, intercept = statistics.linear_regression(x, y)
    freedom = len(lengths) - 2
    if freedom < 1:
        return Growth(slope, None, None, tuple(lengths), intercept)
    squares = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    half = student_quantile(LEVEL, freedom) * math.sqrt(squares / freedom / spread)
    return Growth(slope, slope - half, slope + half, tuple(lengths), intercept)


def exponent(found: Growth | None) -> str:
    """Return an exponent with its interval."""
    if found is None:
        return words.NOTHING
    if found.low is None or found.high is None:
        return f"{found.exponent:.2f}"
    return f"{found.exponent:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _by_kind(rows: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Return the rows by mechanism, dtype, direction and number of threads, as a title."""
    kinds: dict[str, list[Measurement]] = {}
    for row in rows:
        parts = [row.mechanism, row.dtype, row.direction.replace("_", " and ")]
        parts += [words.counted(row.threads, "thread")] if row.threads > 1 else []
        kinds.setdefault(", ".join(parts), []).append(row)
    return kinds


def sweeps(rows: Sequence[Measurement]) -> tuple[Sweep, ...]:
    """Return the sweeps, each with a curve for every implementation at two lengths or more."""
    swept = [row for row in rows if row.status == "measured" and row.workload.startswith(SWEPT)]
    found = (_sweep(title, rows) for title, rows in _by_kind(swept).items())
    return tuple(sweep for sweep in found if sweep.curves)


def _sweep(title: str, rows: Sequence[Measurement]) -> Sweep:
    by_name: dict[str, dict[int, Measurement]] = {}
    for row in rows:
        by_name.setdefault(row.implementation, {})[_length(row)] = row
    curves = tuple(
        Curve(
            name,
            {n: seconds(row) for n, row in measured.items()},
            {n: float(row.peak_bytes or 0) for n, row in measured.items()},
        )
        for name, measured in by_name.items()
        if len(measured) > 1
    )
    ordered = sorted(rows, key=_length)
    least = {_length(row): row.least_bytes for row in ordered if row.least_bytes}
    written = {_length(row): row.written_bytes for row in ordered if row.written_bytes}
    return Sweep(title, curves, least, written, tuple((row, _length(row)) for row in ordered))


def _length(row: Measurement) -> int:
    return Case.from_id(row.case).sizes["Lk"]


def seconds(row: Measurement) -> float:
    """Return the time of one call: the geometric mean of the passes' medians, on the clock that its answer rests on.

    Where that clock was too coarse to move at all, it is the wall clock.
    """
    medians = [statistics.median(samples) for samples in row.cpu_s] if row.clock == "cpu" else []
    if not medians or min(medians) <= 0:
        medians = [statistics.median(samples) for samples in row.wall_s]
    return statistics.geometric_mean(medians)


def fronts(rows: Sequence[Measurement]) -> tuple[Front, ...]:
    """Return a front for each mechanism, dtype and direction in which two implementations or more can be placed."""
    reliable = [row for row in rows if row.status == "measured" and row.answer != "unreliable"]
    placed = [row for row in reliable if row.ratio is not None and row.error_ratio is not None]
    found = (_front(title, rows) for title, rows in _by_kind(placed).items())
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
    marked = [replace(one, ahead=not any(_beats(other, one) for other in spots)) for one in spots]
    first = rows[0]
    ordered = tuple(sorted(marked, key=lambda spot: spot.ratio))
    return Front(title, tuple(shared), ordered, first.mechanism, first.dtype, first.direction)


def _spot(name: str, rows: Sequence[Measurement]) -> Spot:
    ratio = math.exp(statistics.fmean(math.log(row.ratio or 1.0) for row in rows))
    return Spot(name, ratio, max(row.error_ratio or 0.0 for row in rows))


def _beats(one: Spot, other: Spot) -> bool:
    no_worse = one.ratio <= other.ratio and one.error_ratio <= other.error_ratio
    return no_worse and (one.ratio < other.ratio or one.error_ratio < other.error_ratio)
