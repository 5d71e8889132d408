"""How charts look: ink that they inherit from the page, colours and marks that every reader tells apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

INK = "currentColor"
WIDTH = 680
"""Width in pixels of a static chart; in the page it is that of its column."""
SPAN = (0.8, 1.25)
"""Ratios that an axis of ratios reaches at least: less would make noise look large."""

COLOURS = ("#3d85c8", "#d9661f", "#139a76", "#c46a9f", "#b3881a", "#7d6bd0", "#808791", "#25a3bd")
"""Each stands out on a light page and on a dark one; readers of any colour vision tell them apart by tone."""
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-right",
)
"""Seven marks for eight colours: of 56 implementations no two look the same."""

_TEXT = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
CONFIG: dict[str, Any] = {
    "aria": False,  # the figure has a text that says the same
    "background": None,
    "font": "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": _TEXT
    | {
        "domainColor": INK,
        "domainOpacity": 0.3,
        "grid": False,
        "gridColor": INK,
        "gridOpacity": 0.12,
        "labelOpacity": 0.85,
        "labelLimit": 220,
        "tickColor": INK,
        "tickOpacity": 0.3,
        "tickSize": 4,
        "titleOpacity": 0.85,
    },
    "legend": _TEXT | {"labelLimit": 260, "symbolStrokeWidth": 1.6, "titleOpacity": 0.85},
    "text": {"color": INK, "fontSize": 11},
    "rule": {"color": INK},
}


def specification(**parts: Any) -> dict[str, Any]:
    """Return a Vega-Lite specification in this style over the data named `rows`."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": CONFIG,
        "data": {"name": "rows"},
        "padding": 2,
        "params": [{"name": "columns", "value": 4}],
    } | parts


def log_axis(channel: str, title: str, label: str, **parts: Any) -> dict[str, Any]:
    """Return the axis of a logarithmic scale over decades: 1, 2 and 5 of each have a label, 1 a line as well.

    label: an expression for the text at `datum.value`. Over less than a decade every tick has its label.
    """
    digit = "round(100 * datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))"
    narrow = f"domain('{channel}')[1] < 8 * domain('{channel}')[0]"
    shown = f"({narrow} || {digit} == 100 || {digit} == 200 || {digit} == 500)"
    return {
        "title": title,
        "labelExpr": f"{shown} ? {label} : ''",
        "labelOverlap": "greedy",
        "grid": True,
        "gridOpacity": {"condition": {"test": f"{narrow} || {digit} == 100", "value": 1}, "value": 0},
        "tickOpacity": {"condition": {"test": shown, "value": 1}, "value": 0},
    } | parts


def room(channel: str, *values: float) -> list[dict[str, Any]]:
    """Return layers that are not seen: they make an axis reach these values, whatever the data are."""
    hidden = {"type": "rule", "opacity": 0}
    other = {"x": "y", "y": "x"}[channel]
    return [{"mark": hidden, "encoding": {channel: {"datum": value}, other: None}} for value in values]


def prefixed(unit: str) -> str:
    """Return the expression for a value with a decimal prefix before its unit: 1.5 ms."""
    return f"replace(format(datum.value, '~s'), regexp('([^0-9.]*)$'), ' $1') + '{unit}'"


def series(names: Iterable[str], order: Iterable[str] = (), labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the signals that give each name its colour and mark, by its place in `order` if it stands there.

    labels: what the data call a name, where that is more than the name
    """
    found = dict.fromkeys(names)
    places = {name: place for place, name in enumerate(dict.fromkeys([*order, *found]))}
    shown = sorted(found, key=places.__getitem__)
    said = [labels[name] if labels else name for name in shown]
    return {
        "names": said,
        "colours": [COLOURS[places[name] % len(COLOURS)] for name in shown],
        "shapes": [SHAPES[places[name] % len(SHAPES)] for name in shown],
    }


def columns(names: Sequence[str], width: int) -> int:
    """Return how many columns of a legend have room."""
    return max(1, width // (36 + 6 * max(map(len, names), default=0)))


BY_SERIES = {
    "color": {"domain": "names", "range": "colours"},
    "shape": {"domain": "names", "range": "shapes"},
}
"""The scales that take their names, colours and marks from the signals of `series`."""

LEGEND: dict[str, Any] = {
    "shape": "shape",
    "fill": "color",
    "stroke": "color",
    "orient": "top",
    "direction": "horizontal",
    "columns": {"signal": "columns"},
    "symbolSize": 50,
    "offset": 6,
    "columnPadding": 14,
}
"""The legend of the series, in Vega: Vega-Lite has one for the colours and another for the marks."""
