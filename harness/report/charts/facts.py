"""What each datum of a chart carries of the measurement that it shows: the page's query box asks these fields."""

from __future__ import annotations

import math
from typing import Any

from attention_harness.model.measurement import Measurement
from attention_harness.report.content.timings import Line


def of_row(row: Measurement) -> dict[str, Any]:
    """Return the fields that a query asks of a measurement."""
    return {
        "mechanism": row.mechanism,
        "implementation": row.implementation,
        "dtype": row.dtype,
        "workload": row.workload,
        "direction": row.direction,
        "answer": row.answer or "not compared",
    }


def of_line(line: Line) -> dict[str, Any]:
    """Return the fields that a query asks of a line of a table."""
    return of_row(line.row) | {"answer": line.answer}


def digits(value: float | None) -> float | None:
    """Return a number with five significant digits, which is more than a picture shows; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
