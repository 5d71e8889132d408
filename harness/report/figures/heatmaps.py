"""Attention weights as heatmaps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attention_harness.report.content import Heatmap
from attention_harness.report.figures.svg import blank, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def heatmap(panel: Heatmap, name: str) -> str:
    """Return a heatmap: keys across and queries down, the first at the top left, with its scale beside it."""
    if not panel.values:
        return ""
    with drawing():
        rows, columns = len(panel.values), len(panel.values[0])
        width = min(3.0, max(1.4, 0.33 * columns))
        height = min(3.0, max(0.33, 0.33 * rows), max(0.7, width * rows / columns))
        whole = (width + 1.2, height + 0.62)
        figure = blank(*whole)
        axes = figure.add_axes((0.52 / whole[0], 0.5 / whole[1], width / whole[0], height / whole[1]))
        shown = _shown(axes, panel)
        _scale(figure, shown, whole, width, height)
        axes.set_xlabel(panel.columns, parse_math=False)
        axes.set_ylabel(panel.rows, parse_math=False)
        axes.set_xticks(_places(columns, 9))
        axes.set_yticks(_places(rows, 9 if height > 1 else 3))
        axes.tick_params(length=2)
        if width / columns >= 0.29 and height / rows >= 0.2:
            _write_values(axes, panel, shown)
        return svg(figure, name, describe(panel))


def describe(panel: Heatmap) -> str:
    """Return what a heatmap shows, for who cannot see it."""
    numbers = [value for row in panel.values for value in row if math.isfinite(value)]
    span = f"{min(numbers):.2g} to {max(numbers):.2g}" if numbers else "no finite value"
    size = f"{len(panel.values)} by {len(panel.values[0]) if panel.values else 0}"
    return f"Heatmap, {panel.title}: {panel.rows} down, {panel.columns} across, {size}, {span}; case {panel.case}"


def _shown(axes: Axes, panel: Heatmap) -> Any:
    """Draw the cells. Weights start at 0; what has a sign gets a scale with 0 in its middle."""
    import numpy as np

    values = np.ma.masked_invalid(np.asarray(panel.values, np.float64))
    peak = float(np.abs(values).max()) if values.count() else 1.0
    signed = bool(values.count()) and float(values.min()) < 0
    low, colours = (-peak, "RdBu_r") if signed else (0.0, "Blues")
    axes.spines[:].set_visible(True)
    shown = axes.imshow(
        values, cmap=colours, vmin=low, vmax=peak or 1.0, aspect="auto", interpolation="none", rasterized=True
    )
    shown.cmap.set_bad("#b0b0b0")
    return shown


def _scale(figure: Figure, shown: Any, whole: tuple[float, float], width: float, height: float) -> None:
    tall = max(height, 0.7)
    bottom = max(0.04, 0.5 - (tall - height) / 2)
    axes = figure.add_axes(((0.52 + width + 0.14) / whole[0], bottom / whole[1], 0.1 / whole[0], tall / whole[1]))
    bar = figure.colorbar(shown, cax=axes)
    bar.outline.set_linewidth(0.5)
    low, high = shown.norm.vmin, shown.norm.vmax
    bar.set_ticks(ticks := [low, (low + high) / 2, high], labels=[f"{tick:.2g}" for tick in ticks])
    axes.tick_params(length=2)


def _places(count: int, most: int) -> list[int]:
    step = next(s for s in (1, 2, 4, 5, 8, 10, 16, 20, 32, 64, 10**6) if count / s <= most)
    return list(range(0, count, step))


def _write_values(axes: Axes, panel: Heatmap, shown: Any) -> None:
    for i, row in enumerate(panel.values):
        for j, value in enumerate(row):
            if math.isfinite(value):
                red, green, blue, _ = shown.cmap(shown.norm(value))
                colour = "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "#1a1a1a"
                text = f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.1f}"
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=7)
