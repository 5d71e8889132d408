"""Ratios to the baseline with their intervals: a chart for each mechanism, a band for each workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attention_harness.report.charts.chart import Chart, Kind, Row
from attention_harness.report.charts.facts import digits, of_line
from attention_harness.report.charts.style import BY_SERIES, INK, SPAN, WIDTH, series, specification
from attention_harness.report.content.timings import Line, Panel

SMALLEST, LARGEST = 1e-6, 1e6
"""Ratios that the axis has room for; an end beyond is drawn there."""
WITHHELD = ("unreliable", "inconclusive")

_FIRM = {"filter": "datum.firm"}
_HOLLOW = {"filter": "!datum.firm"}
_BANDS = {"aggregate": [], "groupby": ["cell", "place"]}
_Y = {
    "field": "cell",
    "type": "nominal",
    "sort": {"field": "place", "op": "min"},
    "scale": {"paddingInner": 0.12, "paddingOuter": 0.02},
    "axis": None,
}
_TOOLTIP = [
    {"field": "implementation"},
    {"field": "cell", "title": "workload"},
    {"field": "said", "title": "ratio"},
    {"field": "answer"},
    {"field": "remark"},
]


def _spec() -> dict[str, Any]:
    x = {
        "field": "ratio",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"title": "=measure", "format": "~g", "grid": True, "labelOverlap": True},
    }
    series = {"field": "implementation", "type": "nominal", "legend": None}
    drawn = {"x": x, "color": series, "shape": series, "tooltip": _TOOLTIP}
    mark = {"type": "point", "size": 46, "opacity": 1, "strokeWidth": 1.6}
    ends = {"x": x | {"field": "low"}, "x2": {"field": "high"}, "color": series}
    line = {"y": None, "yOffset": None}
    firm, hollow = {"strokeWidth": 2}, {"strokeWidth": 1.4, "strokeDash": [2, 2]}
    return specification(
        width=WIDTH,
        height={"step": 12.5, "for": "offset"},
        autosize={"type": "fit-x", "contains": "padding"},
        encoding={"y": _Y, "yOffset": {"field": "implementation", "type": "nominal"}},
        layer=[
            *({"mark": {"type": "rule", "opacity": 0}, "encoding": line | {"x": {"datum": end}}} for end in SPAN),
            {"mark": {"type": "rule", "color": INK, "opacity": 0.55}, "encoding": line | {"x": {"datum": 1}}},
            {
                "transform": [_BANDS, {"calculate": "''", "as": "implementation"}],  # in the slot of no implementation
                "mark": {"type": "text", "align": "left", "fontWeight": 600},
                "encoding": {"x": {"value": 0}, "text": {"field": "cell"}},
            },
            {"transform": [_FIRM], "mark": {"type": "rule"} | firm, "encoding": ends},
            {"transform": [_HOLLOW], "mark": {"type": "rule"} | hollow, "encoding": ends},
            {"transform": [_FIRM], "mark": mark | {"filled": True}, "encoding": drawn},
            {"transform": [_HOLLOW], "mark": mark | {"filled": False}, "encoding": drawn},
        ],
    )


RATIOS = Kind("ratios", _spec(), BY_SERIES | {"yOffset": {"domain": "slots"}}, legend=True)


def intervals(mechanism: str, panels: Sequence[Panel], order: Sequence[str] = ()) -> Chart | None:
    """Return the ratios of a mechanism's workloads; None where nothing was compared. order: of all implementations."""
    rows = list(_rows(panels))
    if not rows:
        return None
    said = (_said(panel) for panel in panels if panel.plotted)
    baselines = {panel.baseline for panel in panels if panel.plotted}
    baseline = f"{baselines.pop()}'s" if len(baselines) == 1 else "the baseline's"
    look = series((row["implementation"] for row in rows), order)
    measure = f"time ÷ {baseline} time (left of 1: faster)"
    return Chart(
        name="ratios",
        title="",
        text=f"Time over the baseline's, {mechanism}. {'; '.join(said)}",
        kind=RATIOS,
        rows=rows,
        values=look | {"slots": ["", *look["names"]], "measure": measure},
    )


def _rows(panels: Sequence[Panel]) -> Iterator[Row]:
    """Yield a datum for each ratio but the baseline's own, which the line at 1 shows."""
    for place, panel in enumerate(panels):
        for line in panel.plotted:
            if line.answer == "baseline":
                continue
            ratio, low, high = map(_within, line.point or ())
            yield of_line(line) | {
                "cell": f"{panel.workload} · {panel.kind}",
                "place": place,
                "ratio": ratio,
                "low": low,
                "high": high,
                "said": line.ratio,
                "firm": line.answer not in WITHHELD,
                "remark": line.remark,
            }


def _within(value: float | None) -> float | None:
    return digits(None if value is None else min(max(value, SMALLEST), LARGEST))


def _said(panel: Panel) -> str:
    described = ", ".join(map(_described, panel.plotted))
    return f"{panel.workload} ({panel.kind}), over {panel.baseline}: {described}"


def _described(line: Line) -> str:
    return f"{line.implementation} {line.ratio} ({line.answer})"
