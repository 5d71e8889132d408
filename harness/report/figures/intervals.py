"""Time ratios with their intervals: a figure for each workload."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attention_harness.report import timings
from attention_harness.report.figures.svg import ANSWER_INK, FAINT, INK, blank, cut, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Frame:
    """What all interval figures share, so that one can be compared with the next: the axis and the room for names."""

    limits: tuple[float, float]
    margin: float


def intervals(panel: timings.Panel, frame: Frame, name: str) -> str:
    """Return dots and intervals on a logarithmic axis, the baseline at 1."""
    lines = panel.plotted
    if not lines:
        return ""
    with drawing():
        width = 3.7
        margin, limits = frame.margin, frame.limits
        height = 0.62 + 0.27 * len(lines)
        figure = blank(width, height)
        axes = figure.add_axes((margin / width, 0.46 / height, (width - margin - 0.12) / width, 1 - 0.54 / height))
        for place, line in enumerate(lines):
            _dot(axes, len(lines) - 1 - place, line, limits)
        _ratio_axis(axes, limits)
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.set_yticks(range(len(lines)), [cut(line.implementation) for line in reversed(lines)], parse_math=False)
        axes.tick_params(axis="y", length=0)
        return svg(figure, name, alternative(panel))


def alternative(panel: timings.Panel) -> str:
    """Return what an interval figure shows, for who cannot see it."""
    described = [f"{line.implementation} {line.ratio} ({line.answer})" for line in panel.plotted]
    return f"Time over that of {panel.baseline} on {panel.workload}: {', '.join(described)}"


def frame(panels: Sequence[timings.Panel]) -> Frame:
    """Return a range of ratios that holds every interval, and 1 with some room on both sides; and the margin."""
    lines = [line for panel in panels for line in panel.plotted]
    ends = [end for line in lines for end in line.point or () if end is not None and 0 < end < math.inf]
    ends += [0.8, 1.25]
    longest = max((len(cut(line.implementation)) for line in lines), default=0)
    limits = max(min(ends) / 1.15, 1e-6), min(max(ends) * 1.15, 1e6)
    return Frame(limits, 0.2 + 0.078 * longest)


def _dot(axes: Axes, height: float, line: timings.Line, limits: tuple[float, float]) -> None:
    ratio, low, high = line.point or (1.0, None, None)
    colour = ANSWER_INK.get(line.answer, INK)
    firm = line.answer in ("faster", "slower", "same", "baseline")
    if low is not None and high is not None:
        axes.plot(
            [max(low, limits[0]), min(high, limits[1])], [height] * 2, color=colour, lw=1.6, ls="-" if firm else ":"
        )
    marker = {"faster": "<", "slower": ">", "baseline": "D", "unreliable": "X"}.get(line.answer, "o")
    face = colour if firm else "none"
    axes.plot([ratio], [height], marker, color=colour, mfc=face, mec=colour, ms=5.5, mew=1.2, clip_on=False)


def _ratio_axis(axes: Axes, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.axvline(1, color=INK, lw=0.8, zorder=0)
    ticks = _ticks(*limits)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=FAINT, lw=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("time ÷ baseline's time  (left of 1: faster)")
    axes.spines["left"].set_visible(False)


def _ticks(low: float, high: float) -> list[float]:
    """Return at most seven round numbers between, 1 among them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [round(d * 10.0**p, 9) for p in powers for d in digits if low <= d * 10.0**p <= high]
        found += [round(10.0**p / d, 9) for p in powers for d in (1.25,) if digits[1:2] == (1.2,) and p == 0]
        if len(found) <= 7:
            return sorted(set(found))
    return [10.0**p for p in powers[:: len(powers) // 6 + 1] if low <= 10.0**p <= high] + [1.0]
