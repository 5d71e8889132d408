"""Heatmaps in characters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attention_harness.report.content import Heatmap

SHADES = " ░▒▓█"
LARGEST = 32  # rows and columns in characters; a larger heatmap is averaged down


def shaded(panel: Heatmap) -> Iterator[str]:
    """Yield the lines of a heatmap, two characters for each column; a number that is none is a question mark."""
    values = _means(panel.values, _step(panel))
    peak = max((abs(v) for row in values for v in row if math.isfinite(v)), default=0.0)
    for row in values:
        yield "│" + "".join(_shade(value, peak) * 2 for value in row) + "│"


def averaged(panel: Heatmap) -> str:
    """Return how a heatmap is averaged down, or ""."""
    step = _step(panel)
    return f"; means of blocks of {step} by {step}" if step > 1 else ""


def _shade(value: float, peak: float) -> str:
    if not math.isfinite(value):
        return "?"
    return SHADES[min(len(SHADES) - 1, math.ceil(abs(value) / peak * (len(SHADES) - 1) - 1e-9))] if peak else SHADES[0]


def _step(panel: Heatmap) -> int:
    return max(1, math.ceil(max(map(len, (panel.values, *panel.values[:1])), default=0) / LARGEST))


def _means(values: Sequence[Sequence[float]], step: int) -> list[list[float]]:
    starts = [range(0, len(values), step), range(0, len(values[0]), step)]
    blocks = ([[v for row in values[i : i + step] for v in row[j : j + step]] for j in starts[1]] for i in starts[0])
    return [[sum(block) / len(block) for block in row] for row in blocks]
