"""Heatmaps of attention weights and of errors: keys across, queries down, the first at the top left."""

from __future__ import annotations

import math
from typing import Any

from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.run_facts import Heatmap
from attention_harness.report.charts.chart import Chart, Kind
from attention_harness.report.charts.facts import digits
from attention_harness.report.charts.style import INK, specification

LEAST = 6.0  # powers of ten, beyond which an error ratio has the last colour
LARGEST, SMALLEST, ROOM = 26, 4, 240  # pixels: of a cell's side, and of a panel's width


def _kind(name: str, scheme: str) -> Kind:
    """Return a kind of heatmap. Each row of data is a row of cells; what has no number is left grey."""
    place: dict[str, Any] = {
        "x": {"field": "column", "type": "ordinal", "axis": _axis("=across", orient="top")},
        "y": {"field": "row", "type": "ordinal", "axis": _axis("=down", orient="left")},
    }
    tooltip = [
        {"field": "row", "title": "row"},
        {"field": "column", "title": "column"},
        {"field": "value", "format": ".4g", "title": "value"},
    ]
    legend = {
        "title": None,
        "orient": "bottom",
        "direction": "horizontal",
        "gradientLength": 120,
        "gradientThickness": 8,
        "format": "~g",
        "tickCount": 3,
    }
    spec = specification(
        width={"step": LARGEST},
        height={"step": LARGEST},
        transform=[
            {"flatten": ["cells"], "as": ["value"]},
            {"window": [{"op": "row_number", "as": "number"}], "groupby": ["row"]},
            {"calculate": "datum.number - 1", "as": "column"},
        ],
        encoding=place,
        layer=[
            {
                "transform": [{"filter": "!isValid(datum.value)"}],
                "mark": {"type": "rect", "fill": INK, "opacity": 0.12},
            },
            {
                "transform": [{"filter": "isValid(datum.value)"}],
                "mark": {"type": "rect"},
                "encoding": {
                    "color": {"field": "value", "type": "quantitative", "scale": {"scheme": scheme}, "legend": legend},
                    "tooltip": tooltip,
                },
            },
        ],
    )
    return Kind(name, spec, {"color": {"domain": "span"}})


def _axis(title: str, orient: str) -> dict[str, Any]:
    return {
        "title": title,
        "orient": orient,
        "domain": False,
        "ticks": False,
        "labelAngle": 0,
        "labelOverlap": True,
        "labelPadding": 4,
    }


WEIGHTS = _kind("weights", "viridis")
SIGNED = _kind("signed", "blueorange")
KINDS = (WEIGHTS, SIGNED)


def weights(panel: Heatmap) -> Chart | None:
    """Return a heatmap of weights with its scale; None where the panel holds no numbers."""
    return _heatmap(panel, WEIGHTS)


def errors(one: ErrorMap) -> Chart | None:
    """Return a map of error ratios by their power of ten: below 0 is within the error bound. None without numbers."""
    values = tuple(
        tuple(None if x is None else min(max(math.log10(x), -LEAST), LEAST) if x > 0 else -LEAST for x in row)
        for row in one.values
    )
    down, across = _blocks(one.rows, one.rows_each), _blocks(one.columns, one.columns_each)
    return _heatmap(Heatmap(one.case, one.title, down, across, values), SIGNED)


def _blocks(name: str, each: int) -> str:
    """Return what an axis holds, and how many of them a cell stands for."""
    return f"{name}, {each} to a cell" if each > 1 else name


def _heatmap(panel: Heatmap, kind: Kind) -> Chart | None:
    if not panel.values or not panel.values[0]:
        return None
    rows, columns = len(panel.values), len(panel.values[0])
    known = [value for line in panel.values for value in line if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    peak = max(-low, high) or 1.0
    step = max(SMALLEST, min(LARGEST, ROOM // columns))
    span = f"{low:.2g} to {high:.2g}" if known else "no finite value"
    size = f"{panel.rows} down, {panel.columns} across, {rows} by {columns}"
    return Chart(
        name=kind.name,
        title=panel.title,
        text=f"Heatmap, {panel.title}: {size}, {span}{f'; case {panel.case}' if panel.case else ''}",
        kind=SIGNED if low < 0 else kind,  # with a sign, 0 is in the middle
        rows=[{"row": place, "cells": list(map(digits, line))} for place, line in enumerate(panel.values)],
        values={
            "across": panel.columns,
            "down": panel.rows,
            "span": [-peak if low < 0 or kind is SIGNED else 0, peak],
            "x_step": step,
            "y_step": step,
        },
    )
