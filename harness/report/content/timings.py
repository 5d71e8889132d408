"""Times relative to the baseline, as rows of text. Only what conforms has a place in the order and in the figure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attention_harness.model.measurement import ANSWERS, STATUSES, Measurement
from attention_harness.model.verdict import NONCONFORMING, Verdict
from attention_harness.report import words

COSTS = ("could show", "prepare", "first call", "peak memory", "of ceiling", "error ratio")
"""What `Line.costs` holds."""


@dataclass(frozen=True, slots=True)
class Line:
    """One implementation on one workload. remark: why it was not timed, or what to know about the answer."""

    row: Measurement
    remark: str

    @property
    def implementation(self) -> str:
        """Its name."""
        return self.row.implementation

    @property
    def measured(self) -> bool:
        """It was timed and conforms."""
        return self.row.status == "measured"

    @property
    def answer(self) -> str:
        """faster, slower, ... or the status of what was not timed."""
        return (self.row.answer or "not compared") if self.measured else self.row.status

    @property
    def point(self) -> tuple[float, float | None, float | None] | None:
        """Ratio, low and high for the figure; None unless it was measured and compared."""
        ratio = self.row.ratio
        return (ratio, self.row.low, self.row.high) if ratio is not None and 0 < ratio < math.inf else None

    @property
    def ratio(self) -> str:
        """The ratio with its interval."""
        return words.NOTHING if self.point is None else "1" if self.answer == "baseline" else words.ratio(*self.point)

    @property
    def costs(self) -> tuple[str, ...]:
        """What `COSTS` names."""
        row = self.row
        return (
            words.percent(row.detectable),
            words.seconds(statistics.median(row.prepare_s) if row.prepare_s else None),
            words.seconds(row.first_call_s),
            words.size(row.peak_bytes),
            f"{row.ceiling_share:.0%} {row.ceiling}" if row.ceiling_share is not None else words.NOTHING,
            words.error_ratio(row.error_ratio),
        )

    @property
    def times(self) -> tuple[str, ...]:
        """Of one call: the median of all samples with the range of the passes' medians; the same cold; the samples."""
        row, medians = self.row, [statistics.median(samples) for samples in self.row.wall_s]
        every = [time for samples in row.wall_s for time in samples]
        cold = statistics.median(map(statistics.median, row.cold_s)) if row.cold_s else None
        median, least, most = map(words.seconds, (statistics.median(every), min(medians), max(medians)))
        return (
            f"{median} ({least} to {most})",
            words.seconds(cold),
            f"{words.counted(len(medians), 'pass', 'passes')}, {words.number(len(every))} samples",
        )


@dataclass(frozen=True, slots=True)
class Panel:
    """A cell: its lines, the ranked ones first. kind: dtype, and direction and threads where they are not the usual."""

    workload: str
    kind: str
    mechanism: str
    case: str
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

    @property
    def rows(self) -> tuple[Measurement, ...]:
        """The rows of all lines: what does not conform on its case is refused in them, whatever it was measured at."""
        return tuple(line.row for panel in self.panels for line in panel.lines)


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
    first, baseline = rows[0], next((row.baseline for row in rows if row.baseline), "")
    lines = [
        _line(row, wrong.get((row.implementation, row.case)), elsewhere[row.implementation, row.mechanism])
        for row in rows
    ]
    caption = "; ".join(_caption(rows, baseline, (baseline, first.case) in wrong))
    described = kind(first), first.mechanism, first.case, baseline, caption
    return Panel(first.workload, *described, tuple(sorted(lines, key=_rank)))


def kind(row: Measurement) -> str:
    """Return dtype, and direction and threads where they are not the usual."""
    both = "forward and backward" if row.direction != "forward" else ""
    threads = words.counted(row.threads, "thread") if row.threads > 1 else ""
    return ", ".join(filter(None, (row.dtype, both, threads)))


def _rank(line: Line) -> tuple[bool, bool, bool, float]:
    """Return a key that sorts by ratio what was measured; an answer that was withheld comes after the others."""
    return not line.measured, line.point is None, line.answer == "unreliable", line.row.ratio or 0.0


def _caption(rows: Sequence[Measurement], baseline: str, spoilt: bool) -> Iterator[str]:
    """Yield what holds of all lines of a panel."""
    yield words.counted(rows[0].threads, "thread")
    if baseline:
        yield f"baseline {baseline}"
    compared = [row for row in rows if row.ratio is not None]
    if clocks := sorted({row.clock for row in compared if row.clock}):
        yield f"{words.listed(clocks)} time"
    if levels := sorted({row.level for row in compared if row.level is not None}):
        yield f"{words.listed([words.percent(level) for level in levels])} intervals"
    if controls := sorted({row.control_ratio for row in compared if row.control_ratio is not None}):
        found = words.listed([f"{ratio:.3f}" for ratio in controls])
        yield f"the baseline's A/A control, whose truth is 1, came out at {found}"
    if counted := next((row for row in rows if row.flops is not None), None):
        yield (
            f"{words.quantity(counted.flops)}FLOP of matrix products, {words.size(counted.moved_bytes)} moved; "
            f"a call has to add {words.size(counted.least_bytes)}, its largest intermediate written out would be "
            f"{words.size(counted.written_bytes)}"
        )
    if gated_on := next((row.gated_on for row in rows if row.gated_on), ""):
        yield f"checked at a shorter length, {gated_on}"
    if not compared:
        yield "no comparison" if baseline else "no comparison: the baseline was not measured"
    if spoilt:
        yield "WARNING: the baseline itself does not conform on this case"


def _line(row: Measurement, verdict: Verdict | None, elsewhere: int) -> Line:
    if row.status == "measured" and verdict is not None:
        why = f"timed, but it does not conform on this case ({verdict.status}, check {verdict.check}): not ranked"
        cell = row.mechanism, row.workload, row.case, row.threads
        refused = Measurement(row.implementation, *cell, "refused", f"{why}. {verdict.reason}", direction=row.direction)
        return Line(refused, refused.reason)
    fails = f"{words.counted(elsewhere, 'check')} of this mechanism went wrong on other cases" if elsewhere else ""
    return Line(row, "; ".join(filter(None, (row.reason, fails if row.status == "measured" else ""))))
