"""Time and memory over the length, both logarithmic: a power is a straight line, and its exponent the slope."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attention_harness.model import units
from attention_harness.report.charts.chart import Chart, Kind, Row
from attention_harness.report.charts.facts import digits, of_row
from attention_harness.report.charts.style import BY_SERIES, INK, WIDTH, log_axis, prefixed, series, specification
from attention_harness.report.content.growth import Sweep, exponent, growth

HEIGHT = 250
_BYTES = (
    "datum.value >= 1073741824 ? format(datum.value / 1073741824, '~r') + ' GiB' : "
    "datum.value >= 1048576 ? format(datum.value / 1048576, '~r') + ' MiB' : "
    "datum.value >= 1024 ? format(datum.value / 1024, '~r') + ' KiB' : format(datum.value, '~r') + ' B'"
)


def _spec(title: str, base: int, axis: dict[str, Any]) -> dict[str, Any]:
    place: dict[str, Any] = {
        "x": {
            "field": "length",
            "type": "quantitative",
            "scale": {"type": "log", "base": 2, "nice": False, "padding": 14},
            "axis": {"title": "length", "format": ",", "labelOverlap": True},
        },
        "y": {
            "field": "value",
            "type": "quantitative",
            "scale": {"type": "log", "base": base, "nice": False, "padding": 10},
            "axis": axis,
        },
    }
    named = {"field": "series", "type": "nominal", "legend": None}
    tooltip = [
        {"field": "implementation"},
        {"field": "length", "format": ","},
        {"field": "said", "title": title},
        {"field": "slope", "title": "exponent"},
    ]
    measured, fit, bound = ({"filter": f"datum.part == '{part}'"} for part in ("measured", "fit", "bound"))
    line = {"type": "line", "clip": True}
    return specification(
        width=WIDTH // 2,
        height=HEIGHT,
        autosize={"type": "fit-x", "contains": "padding"},
        encoding=place,
        layer=[
            {
                "transform": [bound],
                "mark": line | {"color": INK, "opacity": 0.6, "strokeWidth": 1, "strokeDash": [3, 3]},
                "encoding": {"detail": {"field": "series"}},
            },
            {
                "transform": [bound, {"filter": "datum.last"}],
                "mark": {"type": "text", "align": "right", "dy": -6, "opacity": 0.75, "fontSize": 10},
                "encoding": {"text": {"field": "series"}},
            },
            {
                "transform": [measured],
                "mark": line | {"opacity": 0.35, "strokeWidth": 1},
                "encoding": {"color": named},
            },
            {"transform": [fit], "mark": line | {"strokeWidth": 1.8}, "encoding": {"color": named}},
            {
                "transform": [measured],
                "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1},
                "encoding": {"color": named, "shape": named, "tooltip": tooltip},
            },
        ],
    )


_CALL, _ADDED = "time of one call", "memory that a call adds"
_SIZES = {"title": _ADDED, "labelExpr": _BYTES, "grid": True, "labelOverlap": True, "tickCount": 6}
TIME = Kind("time", _spec(_CALL, 10, log_axis("y", _CALL, prefixed("s"))), BY_SERIES, legend=True)
MEMORY = Kind("memory", _spec(_ADDED, 2, _SIZES), BY_SERIES, legend=True)


def scaling(sweep: Sweep, memory: bool, order: Sequence[str] = ()) -> Chart | None:
    """Return time or memory of one call over the length, with the fits; None where no curve has two points."""
    lines = {curve.implementation: _positive(curve.bytes if memory else curve.seconds) for curve in sweep.curves}
    lines = {name: points for name, points in lines.items() if len(points) > 1}
    if not lines:
        return None
    what, unit = ("memory added", units.size) if memory else ("time of one call", units.duration)
    labels = {name: f"{name}  {exponent(growth(points))}" for name, points in lines.items()}
    facts = {(row.implementation, length): of_row(row) for row, length in sweep.placed}
    rows: list[Row] = [
        {**facts[name, length], "said": unit(value), **datum}
        for name, points in lines.items()
        for length, value, datum in _curve(points, labels[name])
    ]
    if memory:
        rows += _bound("least possible", sweep.least, lines) + _bound("scores written out", sweep.written, lines)
    ends = ", ".join(f"{name} {unit(points[max(points)])} at {max(points)}" for name, points in lines.items())
    fits = ", ".join(f"{name} {exponent(growth(points))}" for name, points in lines.items())
    return Chart(
        name="memory" if memory else "time",
        title="Memory that a call adds" if memory else "Time of one call",
        text=f"{what} over length, {sweep.title}: {ends}. Exponents: {fits}",
        kind=MEMORY if memory else TIME,
        rows=rows,
        values=series(labels, order, labels),
    )


def _curve(points: Mapping[int, float], label: str) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Yield the data of a curve: its points, and the ends of the fit."""
    fit = growth(points)
    slope = exponent(fit)
    for length, value in points.items():
        datum = {"part": "measured", "length": length, "value": digits(value), "series": label, "slope": slope}
        yield length, value, datum
    for length in (fit.lengths[0], fit.lengths[-1]) if fit else ():
        value = fit.at(length) if fit else math.nan
        yield length, value, {"part": "fit", "length": length, "value": digits(value), "series": label, "slope": slope}


def _bound(label: str, known: Mapping[int, float], lines: Mapping[str, Mapping[int, float]]) -> list[Row]:
    """Return the data of a bound that no implementation set, over the lengths that were measured."""
    lengths = sorted(
        {length for points in lines.values() for length in points} & {n for n, v in known.items() if v > 0}
    )
    return [
        {"part": "bound", "length": n, "value": digits(known[n]), "series": label, "last": n == lengths[-1]}
        for n in lengths
        if len(lengths) > 1
    ]


def _positive(points: Mapping[int, float]) -> dict[int, float]:
    return {length: value for length, value in sorted(points.items()) if value > 0}
