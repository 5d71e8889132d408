"""Attained operations a second over arithmetic intensity, below the ceilings that were measured in the same rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from attention_harness.report import words
from attention_harness.report.charts.chart import Chart, Kind, Row
from attention_harness.report.charts.facts import digits, of_row
from attention_harness.report.charts.style import BY_SERIES, INK, WIDTH, log_axis, prefixed, series, specification
from attention_harness.report.content.roofline import Point, Roof, Roofline
from attention_harness.report.content.timings import kind

HEIGHT = 340


def _spec() -> dict[str, Any]:
    named = {"field": "implementation", "type": "nominal", "legend": None}
    point, cell, roof = ({"filter": f"datum.part == '{part}'"} for part in ("point", "cell", "roof"))
    name = {"type": "text", "fontSize": 10, "opacity": 0.8}
    about = [{"field": "cell", "title": "workload"}, {"field": "mechanism"}]
    return specification(
        width=WIDTH,
        height=HEIGHT,
        autosize={"type": "fit-x", "contains": "padding"},
        encoding={
            "x": {
                "field": "intensity",
                "type": "quantitative",
                "scale": {"type": "log", "base": 2, "nice": False, "padding": 10},
                "axis": {"title": "operations for each byte that has to move", "format": "~g", "labelOverlap": True},
            },
            "y": {
                "field": "rate",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 10},
                "axis": log_axis("y", "attained", prefixed("FLOP/s")),
            },
        },
        layer=[
            {
                "transform": [roof],
                "mark": {"type": "line", "color": INK, "opacity": 0.6, "strokeWidth": 1.2},
                "encoding": {"detail": {"field": "label"}},
            },
            {
                "transform": [roof, {"filter": "datum.last && !datum.slanted"}],
                "mark": name | {"align": "right", "dy": -7},
                "encoding": {"text": {"field": "label"}},
            },
            {
                "transform": [roof, {"filter": "datum.last && datum.slanted"}],
                "mark": name | {"align": "left", "dx": 3, "dy": 10},
                "encoding": {"text": {"field": "label"}},
            },
            {
                "transform": [cell],
                "mark": {
                    "type": "tick",
                    "color": INK,
                    "opacity": 0.5,
                    "orient": "horizontal",
                    "size": 12,
                    "thickness": 1.5,
                },
                "encoding": {
                    "tooltip": [*about, {"field": "label", "title": "ceiling"}, {"field": "said", "title": "at most"}]
                },
            },
            {
                "transform": [point],
                "mark": {"type": "point", "filled": True, "size": 36, "opacity": 0.85},
                "encoding": {
                    "color": named,
                    "shape": named,
                    "tooltip": [
                        {"field": "implementation"},
                        *about,
                        {"field": "said", "title": "attained"},
                        {"field": "label", "title": "of its ceiling"},
                    ],
                },
            },
        ],
    )


ROOFLINE = Kind("roofline", _spec(), BY_SERIES, legend=True)


def roofline(found: Roofline, order: Sequence[str] = ()) -> Chart:
    """Return the plane of one dtype and number of threads, with a short line at the ceiling of each workload."""
    rows = [*_points(found.points), *_cells(found.points), *_roofs(found)]
    names = dict.fromkeys(point.row.implementation for point in found.points)
    said = "; ".join(f"{name}: {_best(name, found.points)}" for name in names)
    ceilings = ", ".join(f"{roof.kind} {roof.row[2]}" for roof in found.roofs) or "none measured"
    return Chart(
        name="roofline",
        title=found.title,
        text=f"Attained operations a second, {found.title}; best share of its ceiling: {said}. Ceilings: {ceilings}",
        kind=ROOFLINE,
        rows=rows,
        values=series(names, order),
    )


def _points(points: Sequence[Point]) -> Iterator[Row]:
    for point in points:
        share = point.row.ceiling_share
        yield of_row(point.row) | {
            "part": "point",
            "cell": f"{point.row.workload} · {kind(point.row)}",
            "intensity": digits(point.intensity),
            "rate": digits(point.rate),
            "said": f"{words.quantity(point.rate)}FLOP/s",
            "label": words.NOTHING if share is None else f"{share:.0%} of {point.row.ceiling}",
        }


def _cells(points: Sequence[Point]) -> Iterator[Row]:
    """Yield the ceiling of each cell: the median over what was measured there."""
    cells: dict[tuple[tuple[str, str, str, int], str], list[Point]] = {}
    for point in points:
        if point.ceiling is not None:
            cells.setdefault((point.row.cell, point.row.ceiling), []).append(point)
    for (_, label), several in cells.items():
        limit = statistics.median(point.ceiling or 0.0 for point in several)
        row = several[0].row
        yield {
            "part": "cell",
            "mechanism": row.mechanism,
            "cell": f"{row.workload} · {kind(row)}",
            "intensity": digits(several[0].intensity),
            "rate": digits(limit),
            "said": f"{words.quantity(limit)}FLOP/s",
            "label": label,
        }


def _roofs(found: Roofline) -> Iterator[Row]:
    """Yield the two ends of each roof: what copies allow up to where products bind, and products from there on."""
    least, most = (end(point.intensity for point in found.points) for end in (min, max))
    products = [roof for roof in found.roofs if not roof.slanted]
    copies = [roof for roof in found.roofs if roof.slanted]
    for roof in copies:
        last = min([most, *(product.median / roof.median for product in products)])
        if last > least:
            yield from _line(roof, [(least, roof.median * least), (last, roof.median * last)])
    for roof in products:
        first = max(least, min((roof.median / copy.median for copy in copies), default=least))
        if first < most:
            yield from _line(roof, [(first, roof.median), (most, roof.median)])


def _line(roof: Roof, ends: Sequence[tuple[float, float]]) -> Iterator[Row]:
    for place, (intensity, rate) in enumerate(ends):
        label = f"{roof.kind}, {roof.row[2]}"
        datum = {"part": "roof", "intensity": digits(intensity), "rate": digits(rate), "label": label}
        yield datum | {"last": place == len(ends) - 1, "slanted": roof.slanted}


def _best(name: str, points: Sequence[Point]) -> str:
    shares = [point.row.ceiling_share for point in points if point.row.implementation == name]
    known = [share for share in shares if share is not None]
    return f"{max(known):.0%}" if known else "no ceiling"
