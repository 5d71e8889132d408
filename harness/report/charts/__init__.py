"""The charts of a report: Vega-Lite specifications, compiled to Vega, which the page draws and a picture shows."""

from attention_harness.report.charts import front, heatmaps, payback, ratios, roofline, scaling
from attention_harness.report.charts.chart import Chart, Kind, compiled, embedded, png, svg
from attention_harness.report.charts.heatmaps import errors, weights

KINDS: tuple[Kind, ...] = (
    ratios.RATIOS,
    scaling.TIME,
    scaling.MEMORY,
    roofline.ROOFLINE,
    front.FRONT,
    payback.PAYBACK,
    *heatmaps.KINDS,
)
"""Every kind of chart: the page holds each one's specification once."""

__all__ = ["KINDS", "Chart", "Kind", "compiled", "embedded", "errors", "png", "svg", "weights"]
