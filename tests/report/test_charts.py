"""Charts as values: their data are the measurements, a name is never more than data, and the pictures stay small."""

from __future__ import annotations

import base64
import json
import re
from xml.etree import ElementTree

import pytest

from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.run_facts import Heatmap
from attention_harness.report import build, charts, page
from attention_harness.report.charts import performance, ratios

HOSTILE = "</script><b>{{x}}&\"'\u2028\\ datum['a'] =measure __proto__ "
PANEL = Heatmap("cosine-case", "weights", "query", "key", ((0.25, 0.75), (1.0, None)))


@pytest.fixture
def drawn(run, measurement):
    """Return every chart of a run whose names are all hostile."""
    where = {"mechanism": HOSTILE, "workload": HOSTILE, "baseline": "eager" + HOSTILE, "error_ratio": 0.5}
    counts = {"flops": 1e9, "moved_bytes": 1e6, "ceiling": "matrix product", "ceiling_share": 0.5}
    base = measurement("eager" + HOSTILE, **where | counts | {"answer": "baseline", "ratio": 1.0, "low": None,
                       "high": None, "level": None})  # fmt: skip
    rows = [base, measurement("x" + HOSTILE, **where | counts)]
    found = performance.charts(build(run(measurements=rows)))
    return [*found.ratios.values(), *found.rooflines, *found.fronts, found.payback, charts.weights(panel(HOSTILE))]


def panel(text):
    """Return a heatmap with a text wherever it can hold one."""
    return Heatmap(text, text, text, text, PANEL.values)


def test_a_name_is_never_more_than_data(drawn):
    """It stands in no specification; where it stands in the page's data it ends no element; drawn, it is text."""
    assert len(drawn) == 5
    for chart in drawn:
        assert "proto" not in json.dumps(chart.spec) + chart.kind.json
        assert not re.search("[<>&\u2028\u2029]", chart.json + chart.kind.json)
        held = json.loads(chart.json)
        assert [dict(zip(held["fields"], row, strict=True)) for row in held["rows"]] == [
            {name: row.get(name) for name in held["fields"]} for row in chart.rows
        ]
        tree = ElementTree.fromstring(charts.svg(chart))
        assert not [one for one in tree.iter() if one.tag.rpartition("}")[2] in ("script", "b", "a", "image", "style")]
    ratios_text = "".join(ElementTree.fromstring(charts.svg(drawn[0])).itertext())
    assert "</script>" in ratios_text


def test_every_kind_is_compiled_once_and_is_small():
    """The page holds each specification once; none asks for a file or an address."""
    for kind in charts.KINDS:
        assert kind.compiled() is kind.compiled()
        assert len(kind.json) < 10_000
        assert '"url"' not in kind.json
    assert len(charts.KINDS) == len({kind.name for kind in charts.KINDS})


def test_a_chart_does_not_change_its_kind(drawn):
    """Its data and the values of its signals go into a copy."""
    before = drawn[0].kind.json
    vega = charts.compiled(drawn[0])
    assert len(vega["data"][0]["values"]) == len(drawn[0].rows)
    assert before == drawn[0].kind.json


def test_the_data_of_intervals_are_the_measurements(run, measurement):
    """A datum for each ratio but the baseline's, with what a query asks; withheld answers are hollow."""
    shaky = {"ratio": 0.1, "low": 0.09, "high": 0.11, "answer": "unreliable", "reason": "the A/A control drifted"}
    rows = [measurement(), measurement("other"), measurement("shaky", **shaky), measurement("no", "error", reason="x")]
    timing = build(run(measurements=rows)).timing
    chart = ratios.intervals("cosine", timing.panels, ["eager", "other", "shaky"])
    assert [("other", 0.5, 0.4, 0.6, True), ("shaky", 0.1, 0.09, 0.11, False)] == [
        tuple(row[name] for name in ("implementation", "ratio", "low", "high", "firm")) for row in chart.rows
    ]
    asked = {"mechanism": "cosine", "dtype": "float32", "workload": "small", "direction": "forward", "answer": "faster"}
    assert asked.items() <= chart.rows[0].items()
    assert ["other", "shaky"] == chart.values["names"]
    for text in ("eager 1 (baseline)", "other 0.500 [0.400, 0.600] (faster)", "(unreliable)"):
        assert text in chart.text
    assert "error" not in chart.text


def test_an_implementation_looks_the_same_in_every_chart(run, measurement):
    """Its colour and mark come from its place in the run, not from the chart."""
    rows = [measurement(n, workload=w) for w in "ab" for n in ("eager", "x", "y") if (w, n) != ("b", "x")]
    timing = build(run(measurements=rows)).timing
    order = [name for name, _ in timing.tally]
    both, one = (ratios.intervals("cosine", panels, order) for panels in (timing.panels, timing.panels[1:]))
    assert (["x", "y"], ["y"]) == (both.values["names"], one.values["names"])
    for look in ("colours", "shapes"):
        assert both.values[look][1:] == one.values[look]
        assert both.values[look][0] != both.values[look][1]


def test_fifty_six_implementations_are_told_apart():
    """By colour and mark together."""
    look = charts.style.series([f"n{i}" for i in range(56)])
    assert len(set(zip(look["colours"], look["shapes"], strict=True))) == 56


def test_a_heatmap_has_a_cell_for_each_number():
    """Keys across, queries down; what has no number is there, and grey."""
    chart = charts.weights(PANEL)
    assert [[0.25, 0.75], [1.0, None]] == [row["cells"] for row in chart.rows]
    assert [0, 1.0] == chart.values["span"]
    tree = ElementTree.fromstring(charts.svg(chart))
    fills = [one.get("fill") for one in tree.iter() if one.tag.endswith("path")]
    assert fills.count("currentColor") == 1
    assert len(fills) >= 4
    assert "2 by 2, 0.25 to 1" in chart.text


@pytest.mark.parametrize(
    ("values", "span"), [(((-1.0, 0.5),), [-1.0, 1.0]), (((0.0, 0.0),), [0, 1.0]), (((None, None),), [0, 1.0])]
)
def test_a_heatmap_with_a_sign_has_zero_in_its_middle(values, span):
    """Both halves of the scale are equally long; a panel of zeros, or of nothing, has a scale as well."""
    chart = charts.weights(Heatmap("c", "t", "query", "key", values))
    assert span == chart.values["span"]
    assert ("signed" == chart.kind.name) == (span[0] < 0)
    assert charts.svg(chart)


def test_a_map_of_errors_is_one_of_powers_of_ten():
    """Within the error bound is below 0, what is beyond a million is a million, what has no number is left out."""
    found = ErrorMap("mine", "case", "output", "query", 2, "column", 1, ((0.0, 0.1, 1.0), (1000.0, 1e12, None)))
    chart = charts.errors(found)
    assert [row["cells"] for row in chart.rows] == [[-6.0, -1.0, 0.0], [3.0, 6.0, None]]
    assert (chart.values["span"], chart.values["down"], chart.values["across"]) == (
        [-6.0, 6.0], "query, 2 to a cell", "column"
    )  # fmt: skip
    assert charts.errors(ErrorMap("mine", "case", "output", "query", 1, "column", 1, ())) is None


@pytest.mark.parametrize("values", [(), ((),)])
def test_a_heatmap_of_nothing_is_none(values):
    """There is nothing to draw."""
    assert charts.weights(Heatmap("c", "t", "query", "key", values)) is None


def test_a_picture_of_many_cells_is_a_png():
    """It is smaller so; both are the same specification."""
    many = Heatmap("c", "t", "query", "key", tuple(tuple(((i * j) % 97) / 97 for j in range(64)) for i in range(64)))
    large, small = charts.weights(many).picture, charts.weights(PANEL).picture
    kind, _, data = large.partition(",")
    assert ("data:image/png;base64", b"\x89PNG\r\n\x1a\n") == (kind, base64.b64decode(data)[:8])
    assert len(large) < 120_000
    assert small.startswith("data:image/svg+xml;base64,")
    assert charts.png(charts.weights(PANEL)).startswith(b"\x89PNG")


def test_the_page_holds_data_and_a_picture_of_each_chart(run, measurement):
    """The picture stands where no script runs, and says what it shows."""
    text = page.render(build(run(measurements=[measurement(), measurement("other")])))
    found = re.findall(r'<figure class="chart" data-chart="(\w+)">.*?</figure>', text, re.S)
    assert ["ratios", "payback"] == found
    assert text.count("<noscript><img src=") == len(found)
    assert text.count('<script type="application/json" data-kind=') == len(charts.KINDS)
