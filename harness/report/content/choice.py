"""Which implementation to take: for each workload, and for each mechanism over its workloads. Pure.

Only what conforms is ranked, and only where its ratio is reliable. All ratios of a cell share its baseline.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.report import words
from attention_harness.report.content.timings import Line, Panel, Timing

HEADER = ("shape", "fastest", "ratio [low, high]", "next", "ratio [low, high]", "order")
"""What the `row` of a choice holds."""

ORDERS = {
    "apart": "the intervals do not overlap",
    "overlapping": "the intervals overlap",
    "one interval missing": "a ratio has no interval",
    "alone": "nothing else could be ranked",
    "unreliable": "only the baseline is left, for the ratios to it are unreliable",
    "": "",
}
"""How sure an order is, and what that means."""

Interval = tuple[float, float, float]
"""A ratio with the low and the high end of its interval."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A workload: its ranked lines, the fastest first, and why others are not among them."""

    panel: Panel
    shape: str
    ranked: tuple[Line, ...]
    others: tuple[str, ...]

    @property
    def order(self) -> str:
        """How sure it is that the first is faster than the second: one of `ORDERS`."""
        if not self.ranked:
            return "unreliable" if any(line.answer == "unreliable" for line in self.panel.lines) else ""
        if len(self.ranked) < 2:
            return "alone"
        return _order(*(_interval(line) for line in self.ranked[:2]))

    @property
    def row(self) -> tuple[str, ...]:
        """What `HEADER` names; the implementations are bare names."""
        cells = [text for line in self.ranked[:2] for text in (line.implementation, line.ratio)]
        cells += [words.NOTHING] * (4 - len(cells))
        return self.shape, *cells, self.order or words.NOTHING


@dataclass(frozen=True, slots=True)
class Fastest:
    """The fastest implementation of a mechanism, over the workloads on which it and the others compare.

    ratio, low, high   geometric mean of its ratios over `workloads`, and its interval, None where a ratio has none
    least, most        the smallest and the largest of these ratios
    baseline           what the ratios are over
    second             the next implementation, "" if there is none; second_ratio: its mean
    order              one of `ORDERS`
    left_out           implementations that were measured on too few of the workloads to compare
    withheld           implementations whose answers are unreliable, so that they may be faster
    """

    mechanism: str
    implementation: str
    baseline: str
    ratio: float
    low: float | None
    high: float | None
    least: float
    most: float
    workloads: int
    measured: int
    second: str
    second_ratio: float | None
    order: str
    left_out: tuple[str, ...]
    withheld: tuple[str, ...] = ()

    @property
    def brief(self) -> str:
        """The answer in a line: by how much, over how many workloads."""
        over = f"{self.workloads} of {words.counted(self.measured, 'workload')}"
        said = words.ratio(self.ratio, self.low, self.high)
        brief = "the baseline" if self.implementation == self.baseline else f"{said} of {self.baseline}'s time"
        unsure = f"; {words.listed(self.withheld)} not ranked: unreliable" if self.withheld else ""
        close = f"; {self.second} may be as fast" if self.second and self.order == "overlapping" else ""
        return f"{brief}, over {over}{close}{unsure}"

    @property
    def says(self) -> str:
        """One sentence: by how much, over how many workloads, and how sure it is."""
        over = f"{self.workloads} of {words.counted(self.measured, 'workload')}"
        spread = "" if self.workloads == 1 else f", {words.ratio(self.least)} to {words.ratio(self.most)} on each"
        text = f"{words.ratio(self.ratio, self.low, self.high)} of the time of {self.baseline} over {over}{spread}"
        if self.implementation == self.baseline:
            text = f"the baseline itself, over {over}"
        following = f"next {self.second} at {words.ratio(self.second_ratio or 1.0)}, " if self.second else ""
        unsure = f"; not ranked, since unreliable: {words.listed(self.withheld)}" if self.withheld else ""
        return f"{text}; {following}{ORDERS[self.order]}{unsure}"


def choices(timing: Timing) -> tuple[Choice, ...]:
    """Return a choice for every panel."""
    return tuple(_choice(panel) for panel in timing.panels)


def ranked(panel: Panel) -> tuple[Line, ...]:
    """Return the lines that can be ranked, the fastest first.

    Not the baseline alone where ratios to it are unreliable: it is not the fastest because nothing is known of others.
    """
    reliable = [line for line in panel.lines if line.point is not None and line.answer != "unreliable"]
    if len(reliable) < len(panel.plotted) and [line.answer for line in reliable] == ["baseline"]:
        return ()
    return tuple(sorted(reliable, key=lambda line: line.row.ratio or math.inf))


def shape(case_id: str) -> str:
    """Return a case's sizes and options in words; its id where it is none of ours."""
    try:
        case = Case.from_id(case_id)
    except HarnessError:
        return case_id
    return ", ".join(_shape(case))


def fastest(timing: Timing) -> tuple[Fastest, ...]:
    """Return the fastest conforming implementation of each mechanism.

    Over forward calls where there are any: fewer implementations have a backward pass. Means compare over the workloads
    that all of them share. Until these are half of the workloads, who was ranked on the fewest is left out.
    """
    found = (_fastest(mechanism, panels) for mechanism, panels in timing.groups.items())
    return tuple(one for one in found if one is not None)


def _choice(panel: Panel) -> Choice:
    first = ranked(panel)
    names = {line.implementation for line in first}
    others = (
        f"{x.implementation}: {x.answer}{', ' + x.remark if x.remark else ''}"
        for x in panel.lines
        if x.implementation not in names
    )
    row = panel.lines[0].row
    threads = words.counted(row.threads, "thread")
    direction = "" if row.direction == "forward" else row.direction.replace("_", " and ")
    text = ", ".join(filter(None, (shape(panel.case), row.dtype, direction, threads)))
    return Choice(panel, text, first, tuple(others))


def _shape(case: Case) -> Iterator[str]:
    sizes = case.sizes
    if sizes.get("B", 1) > 1:
        yield f"batch {sizes['B']}"
    if "H" in sizes:
        groups = sizes.get("Hk", sizes["H"])
        yield words.counted(sizes["H"], "head") + (f" over {groups} of keys" if groups != sizes["H"] else "")
    if "Lq" in sizes and "Lk" in sizes:
        queries, keys = words.number(sizes["Lq"]), words.number(sizes["Lk"])
        yield (
            f"length {keys}"
            if queries == keys
            else f"{queries} {'query' if queries == '1' else 'queries'} over {keys} keys"
        )
    known = ["B", "H", "Hk", "Lq", "Lk"]
    if sizes.get("D") == sizes.get("Dv") and "D" in sizes:
        yield f"width {sizes['D']}"
        known += ["D", "Dv"]
    yield from (f"{axis} {words.number(size)}" for axis, size in sizes.items() if axis not in known)
    yield from (
        name.replace("_", " ") if form is True else f"{name.replace('_', ' ')} {form}"
        for name, form in case.options.items()
    )
    if case.device != "cpu":
        yield f"on {case.device}"


def _interval(line: Line) -> Interval | None:
    if line.answer == "baseline":
        return 1.0, 1.0, 1.0  # by definition
    ratio, low, high = line.point or (1.0, None, None)
    return None if low is None or high is None else (ratio, low, high)


def _order(first: Interval | None, second: Interval | None) -> str:
    if first is None or second is None:
        return "one interval missing"
    return "apart" if first[2] < second[1] else "overlapping"


def _fastest(mechanism: str, panels: Sequence[Panel]) -> Fastest | None:
    forward = [panel for panel in panels if panel.lines[0].row.direction == "forward"]
    compared = [panel for panel in forward or panels if panel.plotted]
    placed = [{line.implementation: line for line in ranked(panel)} for panel in compared if ranked(panel)]
    baselines = {line.implementation for lines in placed for line in lines.values() if line.answer == "baseline"}
    if len(baselines) != 1:
        return None  # nothing was compared, or not with one baseline: no mean of such ratios says anything
    baseline = baselines.pop()
    names, shared = _sharing(placed, baseline)
    if not shared:
        return None
    withheld = sorted(
        {x.implementation for p in forward or panels for x in p.lines if x.answer == "unreliable"} - names
    )
    means = {name: _mean([lines[name] for lines in shared]) for name in names}
    first, *rest = sorted(names, key=lambda name: (means[name][0], name))
    ratios = [lines[first].row.ratio or 1.0 for lines in shared]
    ratio, interval = means[first]
    second = rest[0] if rest else ""
    return Fastest(
        mechanism,
        first,
        baseline,
        ratio,
        interval[1] if interval else None,
        interval[2] if interval else None,
        min(ratios),
        max(ratios),
        len(shared),
        len(compared),
        second,
        means[second][0] if second else None,
        _order(interval, means[second][1]) if second else "alone",
        tuple(sorted({name for lines in placed for name in lines} - names)),
        tuple(withheld),
    )


def _sharing(placed: Sequence[Mapping[str, Line]], baseline: str) -> tuple[set[str], list[Mapping[str, Line]]]:
    """Return the implementations that compare, the baseline among them, and the workloads that all of them share."""
    counts = Counter(name for lines in placed for name in lines)
    alone = {name: _mean([lines[name] for lines in placed if name in lines])[0] for name in counts}
    names = set(counts)
    while True:
        shared = [lines for lines in placed if names <= lines.keys()]
        if 2 * len(shared) >= len(placed) or len(names) <= 2:
            return names, shared
        names.remove(min(names - {baseline}, key=lambda name: (counts[name], -alone[name], name)))


def _mean(lines: Sequence[Line]) -> tuple[float, Interval | None]:
    """Return the geometric mean of ratios, and its interval: the deviations of different cells add in squares."""
    ratio = math.exp(statistics.fmean(math.log(line.row.ratio or 1.0) for line in lines))
    ends = [_interval(line) for line in lines]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return ratio, None
    down, up = (math.hypot(*(math.log(one[0] / one[end]) for one in known)) / len(known) for end in (1, 2))
    return ratio, (ratio, ratio * math.exp(-down), ratio * math.exp(up))
