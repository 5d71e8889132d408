"""What a benchmark is to reach: targets from a file, and which of them the measurements meet. Pure, but for reading.

A file of targets brings its own workloads, since a target holds for a shape. Each quantity is a plain number:

time     of the implementation, over that of each implementation in `over` on the same workload: the median over rounds
         of the ratio; or over its own on another workload, `over_workload`: a ratio of medians
ceiling  the part that a call reaches of the ceiling that binds there
memory   beyond the output, over that of each implementation in `over`
growth   the fitted exponent of that memory over the workloads' lengths

Times and ceilings have an interval: Student's over the passes. A target is met or missed where the whole interval lies
on one side of the bound, and open where the bound lies inside. Memory was read once and has none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from attention_harness.benchmark.statistics import LEVEL, log_ratio
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Direction, Measurement
from attention_harness.model.student import interval
from attention_harness.model.target_results import Met, TargetResult

_RESOLUTION = 2.0**21  # bytes: a peak is read to about that


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bound on a quantity, over each of the workloads; the module says what the quantities are."""

    says: str
    implementation: str
    workloads: Annotated[tuple[str, ...], Meta(min_length=1)]
    quantity: Literal["time", "ceiling", "memory", "growth"]
    over: tuple[str, ...] = ()
    over_workload: str = ""
    direction: Direction = "forward"
    dtype: str = ""
    over_dtype: str = ""
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) is (self.at_least is None):
            raise ValueError(f"{self.says!r}: give either at_most or at_least")
        beside = bool(self.over) + bool(self.over_workload) + bool(self.over_dtype)
        if beside != (self.quantity in ("time", "memory")) or (self.quantity == "memory" and not self.over):
            wants = {"time": "one of over, over_workload and over_dtype", "memory": "over"}.get(
                self.quantity, "nothing"
            )
            raise ValueError(f"{self.says!r}: {self.quantity} is compared with {wants}")
        if self.quantity == "growth" and len(self.workloads) < 2:
            raise ValueError(f"{self.says!r}: growth needs two workloads or more")

    @property
    def wanted(self) -> str:
        """The bound in plain words."""
        return f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"

    def judged(self, low: float, high: float) -> Met:
        """Return whether an interval lies on the right side of the bound."""
        if self.at_most is not None:
            return "met" if high <= self.at_most else "missed" if low > self.at_most else "open"
        least = self.at_least or 0.0
        return "met" if low >= least else "missed" if high < least else "open"


class TargetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of targets. passes, rounds: of the benchmark that measures them; threads: of one call."""

    workload: tuple[Workload, ...]
    target: tuple[Target, ...]
    threads: Annotated[int, Meta(ge=1, le=1024)] = 1
    passes: Annotated[int, Meta(ge=2, le=100)] = 3
    rounds: Annotated[int, Meta(ge=1, le=1000)] = 15

    def __post_init__(self) -> None:
        dtypes = {one.name: one.dtypes for one in self.workload}
        for target in self.target:
            for name in filter(None, (*target.workloads, target.over_workload)):
                if name not in dtypes:
                    has = ", ".join(sorted(dtypes))
                    raise ValueError(f"{target.says!r}: no workload {name!r} in this file; it has {has}")
                if len(dtypes[name]) > 1 and not target.dtype:
                    of = " or ".join(dtypes[name])
                    raise ValueError(f"{target.says!r}: {name} is timed in several dtypes; give dtype, {of}")


Rows = Mapping[tuple[str, str, str, str], Measurement]
"""Implementation, workload, direction and dtype -> measurement."""


def read_targets(path: Path) -> TargetFile:
    """Return the targets of a file in TOML: `[[workload]]` as in workloads.toml, and `[[target]]`, fields as above."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=TargetFile)
    except (OSError, ValueError) as error:  # what msgspec raises is a ValueError
        raise HarnessError(f"{path} is no file of targets: {error}") from error


def results(targets: Sequence[Target], rows: Sequence[Measurement]) -> Iterator[TargetResult]:
    """Yield a result for each target whose workloads have rows: by workload and implementation that is compared."""
    found: Rows = {(row.implementation, row.workload, row.direction, row.dtype): row for row in rows}
    threads = {row.threads for row in rows}
    if len(threads) > 1:
        raise HarnessError(f"targets: give one number of threads, not {', '.join(map(str, sorted(threads)))}")
    timed = {row.workload for row in rows}
    for target in targets:
        chosen = [name for name in target.workloads if name in timed]  # the user may have left out others
        if target.quantity == "growth":
            if len(chosen) > 1:
                yield _growth(target, [_row(found, target, name) for name in chosen], chosen)
            continue
        for workload in chosen if target.over_workload in ("", *timed) else ():
            row = _row(found, target, workload)
            if target.quantity == "ceiling":
                yield _ceiling(target, row, workload)
            elif target.over_workload or target.over_dtype:
                other = _row(found, target, target.over_workload or workload, dtype=target.over_dtype)
                yield _elsewhere(target, row, other, workload)
            for name in target.over:
                other = _row(found, target, workload, name)
                yield _beside(target, row, other, workload, name)


def _row(found: Rows, target: Target, workload: str, name: str = "", dtype: str = "") -> Measurement | str:
    """Return a measurement, or why there is none."""
    name, dtype = name or target.implementation, dtype or target.dtype
    for (who, where, direction, kind), row in found.items():
        if (who, where, direction) == (name, workload, target.direction) and dtype in ("", kind):
            return row if row.status == "measured" else f"{name} on {workload}: {row.status}: {row.reason}"
    return f"{name} was not timed on {workload}"


def _beside(target: Target, row: Measurement | str, other: Measurement | str, workload: str, name: str) -> TargetResult:
    """Return the result of a ratio to another implementation in the same cell."""
    of = f"{workload}{_direction(target)}, {target.quantity} over {name}'s"
    if isinstance(row, str) or isinstance(other, str):
        return _missing(target, of, row, other)
    if target.quantity == "memory":
        mine, theirs = _beyond_output(row), _beyond_output(other)
        if mine is None or theirs is None:
            return _missing(target, of, "peak memory cannot be read on this machine")
        ratio = mine / theirs
        return _result(target, of, ratio, ratio, ratio)
    mine_s, theirs_s = _samples(row, other)
    pairs = [(a, b) for a, b in zip(mine_s, theirs_s, strict=False) if len(a) == len(b)]
    if len(mine_s) != len(theirs_s) or len(pairs) < len(mine_s):
        return _missing(target, of, f"passes were lost: {row.reason or other.reason}")
    return _from_logs(target, of, [log_ratio(a, b) for a, b in pairs], row, other)


def _elsewhere(target: Target, row: Measurement | str, other: Measurement | str, workload: str) -> TargetResult:
    """Return the result of a ratio to another cell, of medians: its calls met other seconds."""
    than = target.over_workload or target.over_dtype
    of = f"{workload}{_direction(target)}, time over that of {than}"
    if isinstance(row, str) or isinstance(other, str):
        return _missing(target, of, row, other)
    logs = [math.log(statistics.median(a) / statistics.median(b)) for a, b in zip(*_samples(row, other), strict=False)]
    return _from_logs(target, of, logs, row, other)


def _ceiling(target: Target, row: Measurement | str, workload: str) -> TargetResult:
    of = f"{workload}{_direction(target)}, part of the ceiling"
    if isinstance(row, str):
        return _missing(target, of, row)
    if row.ceiling_share is None:
        return _missing(target, of, f"no ceiling was measured on {workload}")
    of += f" of {row.ceiling}"
    medians = [statistics.median(samples) for samples in (row.cpu_s if row.clock == "cpu" else row.wall_s)]
    middle = statistics.median(medians)
    return _from_logs(target, of, [math.log(row.ceiling_share * middle / one) for one in medians], row)


def _growth(target: Target, rows: Sequence[Measurement | str], names: Sequence[str]) -> TargetResult:
    of = f"{', '.join(names)}{_direction(target)}, exponent of memory over length"
    lengths, peaks = [], []
    for row in rows:
        if isinstance(row, str):
            return _missing(target, of, row)
        peak = _beyond_output(row)
        if peak is None:
            return _missing(target, of, "peak memory cannot be read on this machine")
        sizes = parse(row.case).sizes
        lengths.append(math.log(sizes.get("Lk", sizes.get("L", 1))))
        peaks.append(math.log(peak))
    slope = max(statistics.linear_regression(lengths, peaks).slope, 0.0)
    return _result(target, of, slope, slope, slope)


def _samples(row: Measurement, other: Measurement) -> tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]:
    """Return the samples by pass of both, in seconds: CPU time where both answers rest on it."""
    if row.clock == other.clock == "cpu":
        return row.cpu_s, other.cpu_s
    return row.wall_s, other.wall_s


def _beyond_output(row: Measurement) -> float | None:
    """Return the bytes that a call adds beyond what none can avoid; what cannot be resolved counts as that."""
    if row.peak_bytes is None:
        return None
    return max(row.peak_bytes - (row.least_bytes or 0.0), _RESOLUTION)


def _from_logs(target: Target, of: str, logs: Sequence[float], *rows: Measurement) -> TargetResult:
    """Return the result of a ratio by passes; as far as the A/A control was off its interval is wider."""
    mean, half = interval(logs, LEVEL)
    half += max(abs(math.log(row.control_ratio or 1.0)) for row in rows)
    if not half < 100:  # exp of more overflows; a single pass has an infinite one
        return _missing(target, of, "a single pass has no interval")
    return _result(target, of, math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def _result(target: Target, of: str, value: float, low: float, high: float) -> TargetResult:
    found = None if low == high else (low, high)
    return TargetResult(
        target.says,
        target.implementation,
        of,
        target.wanted,
        target.judged(low, high),
        value,
        found[0] if found else None,
        found[1] if found else None,
    )


def _missing(target: Target, of: str, *why: Measurement | str) -> TargetResult:
    reason = "; ".join(one for one in why if isinstance(one, str))
    return TargetResult(target.says, target.implementation, of, target.wanted, "not measured", reason=reason)


def _direction(target: Target) -> str:
    dtype = f" in {target.dtype}" if target.dtype else ""
    return dtype + (", forward and backward" if target.direction != "forward" else "")
