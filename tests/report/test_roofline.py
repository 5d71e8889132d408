"""Intensity, attained rates and ceilings, against numbers by hand."""

from __future__ import annotations

import pytest

from attention_harness.report import build, markdown, page
from attention_harness.report.charts import roofline as chart
from attention_harness.report.charts import svg
from attention_harness.report.content import roofline

# 1 GFLOP and 10 MB in 10 ms: 100 operations a byte, 100 GFLOP/s.
COUNTS = {"flops": 1e9, "moved_bytes": 1e7, "wall_s": ((0.01,), (0.01,))}
PRODUCT = COUNTS | {"ceiling": "matrix product", "ceiling_share": 0.5}
COPY = {"flops": 1e6, "moved_bytes": 1e7, "wall_s": ((0.01,),), "ceiling": "copy in L3", "ceiling_share": 0.25}


def test_a_point_by_hand(measurement):
    """A share of one half makes the ceiling twice what was attained."""
    [one] = roofline.rooflines([measurement(**PRODUCT)])
    [point] = one.points
    assert pytest.approx((100.0, 1e11, 2e11)) == (point.intensity, point.rate, point.ceiling)
    assert "float32, 1 thread" == one.title


def test_roofs_are_medians_over_cells(measurement):
    """Matrix products in operations a second, copies in bytes a second: 1 GB/s at a share of a quarter."""
    rows = [measurement(workload=f"p{share}", **PRODUCT | {"ceiling_share": share}) for share in (0.5, 0.25, 0.2)]
    rows += [measurement("other", workload="p0.5", **PRODUCT), measurement(workload="c", **COPY)]
    [one] = roofline.rooflines(rows)
    copy, product = one.roofs
    assert ("copy in L3", 1, pytest.approx(4e9), True) == (copy.kind, copy.cells, copy.median, copy.slanted)
    assert ("matrix product", 3, pytest.approx(4e11)) == (product.kind, product.cells, product.median)
    assert ("matrix product", "3", "400 GFLOP/s", "200 GFLOP/s to 500 GFLOP/s") == product.row


def test_rows_without_counts_or_of_other_kinds_are_apart(measurement):
    """What was not measured or counted has no place; dtypes, threads and devices are not mixed."""
    case = "cosine-B1H1Hk1Lq2Lk3D2Dv2-{}-plain-ordinary-contiguous"
    rows = [
        measurement(),
        measurement("x", "refused", reason="why"),
        measurement(**COUNTS),
        measurement(threads=2, **COUNTS),
        measurement(case=case.format("bfloat16"), **COUNTS),
        measurement(case=case.format("float32") + "@cuda", **COUNTS),
        measurement(**COUNTS | {"flops": 1e308, "moved_bytes": 1e-300}),
    ]
    assert [
        "float32, 1 thread", "float32, 2 threads", "bfloat16, 1 thread", "float32, 1 thread, cuda"
    ] == [one.title for one in roofline.rooflines(rows)]  # fmt: skip


def test_the_chart_has_points_cells_and_roofs(measurement):
    """The roofs meet where copies allow what products do: at 400e9 / 4e9 = 100 operations a byte."""
    [one] = roofline.rooflines(
        [measurement("a", **PRODUCT | {"ceiling_share": 0.25}), measurement("b", workload="c", **COPY)]
    )
    drawn = chart.roofline(one, ["a", "b"])
    parts = {part: [row for row in drawn.rows if row["part"] == part] for part in ("point", "cell", "roof")}
    assert [(100.0, 1e11), (0.1, 1e8)] == [(row["intensity"], row["rate"]) for row in parts["point"]]
    assert [(100.0, 4e11), (0.1, 4e8)] == [(row["intensity"], row["rate"]) for row in parts["cell"]]
    assert [(0.1, 4e8), (100.0, 4e11)] == [(row["intensity"], row["rate"]) for row in parts["roof"]]
    assert "a: 25%; b: 25%" in drawn.text
    assert "copy in L3, 4 GB/s" in svg(drawn)


def test_both_formats_tell_the_ceilings(run, measurement):
    """What the machine can do stands in both; without counts there is no such part."""
    told = build(run(measurements=[measurement(**PRODUCT)]))
    for text in (markdown.render(told), page.render(told)):
        assert "200 GFLOP/s" in text
    assert "GFLOP/s to" not in markdown.render(build(run(measurements=[measurement()])))
