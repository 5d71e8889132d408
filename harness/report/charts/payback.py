"""After how many calls a preparation has paid: a mark for each workload, a line for each implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attention_harness.report import words
from attention_harness.report.charts.chart import Chart, Kind
from attention_harness.report.charts.facts import digits, of_row
from attention_harness.report.charts.style import BY_SERIES, WIDTH, log_axis, room, series, specification
from attention_harness.report.content.payback import NEVER, Payback, Total, calls
from attention_harness.report.content.timings import kind


def _spec() -> dict[str, Any]:
    named = {"field": "implementation", "type": "nominal", "legend": None}
    paid, never = {"filter": "datum.pays"}, {"filter": "!datum.pays"}
    counted = [
        {"aggregate": [{"op": "count", "as": "count"}], "groupby": ["implementation"]},
        {"calculate": "'never on ' + datum.count", "as": "label"},
    ]
    return specification(
        width=WIDTH,
        height={"step": 26},
        autosize={"type": "fit-x", "contains": "padding"},
        encoding={
            "y": {
                "field": "implementation",
                "type": "nominal",
                "sort": None,
                "axis": {"title": None, "domain": False, "ticks": False, "labelLimit": 130},
            }
        },
        layer=[
            *room("x", 1, 10),
            {
                "transform": [paid],
                "mark": {"type": "point", "filled": True, "size": 48, "opacity": 0.7},
                "encoding": {
                    "x": {
                        "field": "calls",
                        "type": "quantitative",
                        "scale": {"type": "log", "nice": False, "padding": 16},
                        "axis": log_axis("x", "calls after which it has paid", "format(datum.value, '~s')"),
                    },
                    "color": named,
                    "shape": named,
                    "tooltip": [
                        {"field": "implementation"},
                        {"field": "cell", "title": "workload"},
                        {"field": "mechanism"},
                        {"field": "said", "title": "pays after calls"},
                        {"field": "prepare", "title": "prepare"},
                    ],
                },
            },
            {
                "transform": [never, *counted],
                "mark": {"type": "text", "align": "left", "fontSize": 10, "opacity": 0.8, "dx": 8},
                "encoding": {"x": {"value": "width"}, "text": {"field": "label"}},
            },
        ],
    )


PAYBACK = Kind("payback", _spec(), BY_SERIES)


def payback(found: Sequence[Total], order: Sequence[str] = ()) -> Chart | None:
    """Return after how many calls each implementation has paid on each workload; None where there is nothing to say."""
    each = [one for total in found for one in total.paybacks]
    if not each:
        return None
    said = "; ".join(f"{total.implementation}: {_said(total.paybacks)}" for total in found)
    return Chart(
        name="payback",
        title="",
        text=f"Calls after which an implementation has taken no longer than the baseline. {said}",
        kind=PAYBACK,
        rows=[_row(one) for one in each],
        values=series((total.implementation for total in found), order),
    )


def _row(one: Payback) -> dict[str, Any]:
    pays = one.calls != NEVER
    return of_row(one.row) | {
        "cell": f"{one.row.workload} · {kind(one.row)}",
        "calls": digits(one.calls) if pays else None,
        "pays": pays,
        "said": one.says,
        "prepare": words.seconds(one.prepare_s),
    }


def _said(paybacks: Sequence[Payback]) -> str:
    paid = [one.calls for one in paybacks if one.calls != NEVER]
    never = f"never on {len(paybacks) - len(paid)}" if len(paid) < len(paybacks) else ""
    pays = f"{calls(min(paid))} to {calls(max(paid))} calls on {words.counted(len(paid), 'workload')}" if paid else ""
    return ", ".join(filter(None, (pays, never)))
