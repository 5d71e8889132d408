"""Speed against accuracy: who is on the front is beaten by no other in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attention_harness.model import units
from attention_harness.report import words
from attention_harness.report.charts.chart import Chart, Kind
from attention_harness.report.charts.facts import digits
from attention_harness.report.charts.style import BY_SERIES, INK, SPAN, WIDTH, room, series, specification
from attention_harness.report.content.growth import Front

HEIGHT = 190


def _spec() -> dict[str, Any]:
    named = {"field": "implementation", "type": "nominal", "legend": None}
    mark = {"type": "point", "size": 64, "opacity": 1, "strokeWidth": 1.8}
    ahead, behind = {"filter": "datum.ahead"}, {"filter": "!datum.ahead"}
    drawn = {
        "color": named,
        "shape": named,
        "tooltip": [
            {"field": "implementation"},
            {"field": "said", "title": "mean ratio"},
            {"field": "worst", "title": "worst error ratio"},
            {"field": "front", "title": "on the front"},
        ],
    }
    return specification(
        width=WIDTH // 2,
        height=HEIGHT,
        autosize={"type": "fit-x", "contains": "padding"},
        encoding={
            "x": {
                "field": "ratio",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 16},
                "axis": {
                    "title": "mean time ÷ baseline's",
                    "format": "~g",
                    "grid": True,
                    "labelOverlap": True,
                    "tickCount": 5,
                },
            },
            "y": {
                "field": "error",
                "type": "quantitative",
                "scale": {"zero": True, "nice": True},
                "axis": {"title": "worst error ÷ bound", "format": "~g", "grid": True, "tickCount": 4},
            },
        },
        layer=[
            *room("x", *SPAN),
            {
                "transform": [ahead],
                "mark": {"type": "line", "interpolate": "step-after", "color": INK, "opacity": 0.4, "strokeWidth": 1},
                "encoding": {"order": {"field": "ratio", "type": "quantitative"}},
            },
            {"transform": [behind], "mark": mark | {"filled": False}, "encoding": drawn},
            {"transform": [ahead], "mark": mark | {"filled": True}, "encoding": drawn},
        ],
    )


FRONT = Kind("front", _spec(), BY_SERIES, legend=True)


def speed_accuracy(front: Front, order: Sequence[str] = ()) -> Chart:
    """Return where each implementation stands; who is on the front is filled, and a line joins them."""
    rows = [
        {
            "mechanism": front.mechanism,
            "dtype": front.dtype,
            "direction": front.direction,
            "workload": ", ".join(front.workloads),
            "implementation": spot.implementation,
            "ratio": digits(spot.ratio),
            "error": digits(spot.error_ratio),
            "said": words.ratio(spot.ratio),
            "worst": units.error_ratio(spot.error_ratio),
            "ahead": spot.ahead,
            "front": "yes" if spot.ahead else "no",
        }
        for spot in front.spots
    ]
    said = ", ".join(f"{row['implementation']} {row['said']} and {row['worst']}" for row in rows)
    ahead = words.listed([spot.implementation for spot in front.spots if spot.ahead])
    return Chart(
        name="front",
        title=front.title,
        text=f"Mean ratio and worst error ratio, {front.title}: {said}. On the front: {ahead}",
        kind=FRONT,
        rows=rows,
        values=series((spot.implementation for spot in front.spots), order),
    )
