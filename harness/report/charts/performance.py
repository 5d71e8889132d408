"""The charts of what was timed, in the order of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attention_harness.report.charts.chart import Chart
from attention_harness.report.charts.front import speed_accuracy
from attention_harness.report.charts.payback import payback
from attention_harness.report.charts.ratios import intervals
from attention_harness.report.charts.roofline import roofline
from attention_harness.report.charts.scaling import scaling
from attention_harness.report.content import Content


@dataclass(frozen=True, slots=True)
class Performance:
    """Charts beside what they show: ratios by mechanism; growth, rooflines and fronts in the order of the content."""

    ratios: Mapping[str, Chart | None]
    growth: tuple[tuple[Chart, ...], ...]
    rooflines: tuple[Chart, ...]
    fronts: tuple[Chart, ...]
    payback: Chart | None


def charts(content: Content) -> Performance:
    """Return the charts of a report. An implementation has one colour and mark in all of them."""
    order = [name for name, _ in content.timing.tally]
    grown = ((scaling(sweep, memory, order) for memory in (False, True)) for sweep in content.sweeps)
    return Performance(
        ratios={name: intervals(name, panels, order) for name, panels in content.timing.groups.items()},
        growth=tuple(tuple(chart for chart in pair if chart is not None) for pair in grown),
        rooflines=tuple(roofline(one, order) for one in content.rooflines),
        fronts=tuple(speed_accuracy(front, order) for front in content.fronts),
        payback=payback(content.paybacks, order),
    )
