"""How charts look: ink that they inherit from the page, colours and marks that every reader tells apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

INK = "currentColor"
WIDTH = 680
"""Width in pixels of a static chart; in the page it is that of its column."""

COLOURS = ("#3d85c8", "#d9661f", "#139a76", "#c46a9f", "#b3881a", "#7d6bd0", "#808791")
"""Each stands out on a light page and on a dark one; readers of any colour vision tell them apart by tone."""
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-right",
    "triangle-left",
)
"""As many as have no common divisor with the colours, so that the pairs repeat late."""

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
    } | parts


def series(names: Iterable[str], order: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the signals that give each name its colour and mark, by its place in `order` if it stands there."""
    shown = list(dict.fromkeys(names))
    places = {name: place for place, name in enumerate(dict.fromkeys([*order, *shown]))}
    return {
        "names": shown,
        "colours": [COLOURS[places[name] % len(COLOURS)] for name in shown],
        "shapes": [SHAPES[places[name] % len(SHAPES)] for name in shown],
    }


BY_SERIES = {
    "color": {"domain": "names", "range": "colours"},
    "shape": {"domain": "names", "range": "shapes"},
}
"""The scales that take their names, colours and marks from the signals of `series`."""
