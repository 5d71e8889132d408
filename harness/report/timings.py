"""Times relative to the baseline, as rows of text. Only what conforms has a place in the order and in the figure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from attention_harness.model.measurement import ANSWERS, STATUSES, Measurement
from attention_harness.model.verdict import NONCONFORMING, Verdict
from attention_harness.report import words


@dataclass(frozen=True, slots=True)
class Line:
    """One implementation on one workload.

    kind        its status; "measured" alone means that it was timed and conforms
    answer      faster, slower, ... or the status of what was not timed
    point       (ratio, low, high) for the figure; None unless it was measured and compared
    ceiling     the part of the machine's ceilings that is reached, and which binds
    error_ratio the largest, where it was checked
    cold        on an accelerator: one call after its cache was flushed
    time        median of all its samples, for one call, with the range of the passes' medians
    remark      why it was not timed, or what to know about the answer
    """

    implementation: str
    kind: str
    answer: str
    remark: str = ""
    ratio: str = words.NOTHING
    point: tuple[float, float | None, float | None] | None = None
    detectable: str = words.NOTHING
    prepare: str = words.NOTHING
    first_call: str = words.NOTHING
    peak: str = words.NOTHING
    ceiling: str = words.NOTHING
    error_ratio: str = words.NOTHING
    cold: str = words.NOTHING
    time: str = words.NOTHING
    samples: str = words.NOTHING


@dataclass(frozen=True, slots=True)
class Panel:
    """A cell: its lines, the ranked ones first. kind: dtype, and direction and threads where they are not the usual."""

    workload: str
    kind: str
    mechanism: str
    case: str
    threads: int
    baseline: str
    caption: str
    lines: tuple[Line, ...]

    @property
    def plotted(self) -> tuple[Line, ...]:
        """The lines of the figure."""
        return tuple(line for line in self.lines if line.point is not None)


@dataclass(frozen=True, slots=True)
class Timing:
    """Every workload's panel, by mechanism, and how often each implementation had which answer."""

    panels: tuple[Panel, ...]
    answers: tuple[str, ...]
    tally: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def groups(self) -> dict[str, list[Panel]]:
        """The panels by mechanism."""
        grouped: dict[str, list[Panel]] = {}
        for panel in self.panels:
            grouped.setdefault(panel.mechanism, []).append(panel)
        return grouped


def timing(measurements: Sequence[Measurement], verdicts: Sequence[Verdict] = ()) -> Timing:
    """Return the tables of the measurements; `verdicts` withhold the rank of what went wrong on the same case."""
    bad = [v for v in verdicts if v.status in NONCONFORMING]
    wrong = {(v.implementation, v.case): v for v in bad}
    elsewhere = Counter((v.implementation, v.mechanism) for v in bad)
    cells: dict[tuple[str, str, str, int], list[Measurement]] = {}
    for row in measurements:
        cells.setdefault(row.cell, []).append(row)
    panels = [_panel(rows, wrong, elsewhere) for rows in cells.values()]
    order = list(dict.fromkeys(panel.mechanism for panel in panels))
    panels.sort(key=lambda panel: order.index(panel.mechanism))
    counts = Counter((line.implementation, line.answer) for panel in panels for line in panel.lines)
    present = {answer for _, answer in counts}
    answers = tuple(a for a in (*ANSWERS, "not compared", *STATUSES) if a in present)
    names = dict.fromkeys(name for name, _ in counts)
    return Timing(tuple(panels), answers, tuple((n, tuple(counts[n, a] for a in answers)) for n in names))


def _panel(
    rows: Sequence[Measurement], wrong: dict[tuple[str, str], Verdict], elsewhere: Counter[tuple[str, str]]
) -> Panel:
    first = rows[0]
    baseline = next((row.baseline for row in rows if row.baseline), "")
    lines = [
        _line(row, wrong.get((row.implementation, row.case)), elsewhere[row.implementation, row.mechanism])
        for row in rows
    ]
    lines.sort(key=_rank)
    spoilt = (baseline, first.case) in wrong
    return Panel(
        first.workload,
        _kind(first),
        first.mechanism,
        first.case,
        first.threads,
        baseline,
        _caption(rows, baseline, spoilt),
        tuple(lines),
    )


def _kind(row: Measurement) -> str:
    both = "forward and backward" if row.direction != "forward" else ""
    threads = words.counted(row.threads, "thread") if row.threads > 1 else ""
    return ", ".join(filter(None, (row.dtype, both, threads)))


def _rank(line: Line) -> tuple[bool, bool, bool, float]:
    """Return a key that sorts by ratio what was measured; an answer that was withheld comes after the others."""
    ratio = line.point[0] if line.point else 0.0
    return line.kind != "measured", line.point is None, line.answer == "unreliable", ratio


def _caption(rows: Sequence[Measurement], baseline: str, spoilt: bool) -> str:
    compared = [row for row in rows if row.ratio is not None]
    facts = [words.counted(rows[0].threads, "thread")]
    if baseline:
        facts.append(f"baseline {baseline}")
    clocks = sorted({row.clock for row in compared if row.clock})
    if clocks:
        facts.append(f"{words.listed(clocks)} time")
    levels = sorted({row.level for row in compared if row.level is not None})
    if levels:
        facts.append(f"{words.listed([words.percent(level) for level in levels])} intervals")
    controls = sorted({row.control_ratio for row in compared if row.control_ratio is not None})
    if controls:
        facts.append(
            f"the baseline's A/A control, whose truth is 1, came out at {words.listed([f'{t:.3f}' for t in controls])}"
        )
    counted = next((row for row in rows if row.flops is not None), None)
    if counted is not None:
        facts.append(
            f"{words.quantity(counted.flops)}FLOP of matrix products, {words.size(counted.moved_bytes)} moved; "
            f"a call has to add {words.size(counted.least_bytes)}, its largest intermediate written out would be "
            f"{words.size(counted.written_bytes)}"
        )
    if any(row.gated_on for row in rows):
        facts.append(f"checked at a shorter length, {next(row.gated_on for row in rows if row.gated_on)}")
    if not compared:
        facts.append("no comparison: the baseline was not measured" if not baseline else "no comparison")
    if spoilt:
        facts.append("WARNING: the baseline itself does not conform on this case")
    return "; ".join(facts)


def _line(row: Measurement, verdict: Verdict | None, elsewhere: int) -> Line:
    if row.status != "measured":
        return Line(row.implementation, row.status, row.status, row.reason)
    if verdict is not None:
        why = f"timed, but it does not conform on this case ({verdict.status}, check {verdict.check}): not ranked"
        return Line(row.implementation, "refused", "refused", f"{why}. {verdict.reason}")
    drawable = row.ratio is not None and math.isfinite(row.ratio) and row.ratio > 0
    point = (row.ratio, row.low, row.high) if drawable and row.ratio is not None else None
    fails = f"{words.counted(elsewhere, 'check')} of this mechanism went wrong on other cases" if elsewhere else ""
    medians = [statistics.median(samples) for samples in row.wall_s]
    every = statistics.median(time for samples in row.wall_s for time in samples)
    return Line(
        row.implementation,
        "measured",
        row.answer or "not compared",
        "; ".join(filter(None, (row.reason, fails))),
        "1" if row.answer == "baseline" else words.ratio(*point) if point else words.NOTHING,
        point,
        words.percent(row.detectable),
        words.seconds(statistics.median(row.prepare_s)) if row.prepare_s else words.NOTHING,
        words.seconds(row.first_call_s),
        words.size(row.peak_bytes),
        f"{row.ceiling_share:.0%} {row.ceiling}" if row.ceiling_share is not None else words.NOTHING,
        words.error_ratio(row.error_ratio),
        words.seconds(statistics.median(map(statistics.median, row.cold_s))) if row.cold_s else words.NOTHING,
        f"{words.seconds(every)} ({words.seconds(min(medians))} to {words.seconds(max(medians))})",
        f"{words.counted(len(row.wall_s), 'pass', 'passes')}, {words.number(sum(map(len, row.wall_s)))} samples",
    )
