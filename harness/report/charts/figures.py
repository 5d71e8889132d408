"""Formulas, and heatmaps as the section of mechanisms still shows them: images that matplotlib draws."""

from __future__ import annotations

import base64
import functools
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attention_harness.model.run_facts import Heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "attention-harness",  # the same figure has the same ids on every run
    "svg.fonttype": "none",
    "text.parse_math": False,
    "mathtext.fontset": "stix",
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_FORMULA: dict[str, Any] = {"svg.fonttype": "path", "text.parse_math": True}  # the page has no mathematical font
# What mathtext does not know, in words that it knows and that mean the same.
_SPOKEN = (
    (r"\\frac(?![a-zA-Z])", r"\\dfrac"),  # what stands alone is set large
    (r"\\tfrac(\d)(\d)", r"\\frac{\1}{\2}"),
    (r"\\tfrac(?![a-zA-Z])", r"\\frac"),
    (r"\\[lr]Vert(?![a-zA-Z])", r"\\Vert"),
    (r"\\textstyle(?![a-zA-Z])", ""),
    (r"\\dots(?![a-zA-Z])", r"\\ldots"),
    (r"(\\sum_(?:\w|\{[^}]*\}))", r"\1\\,"),  # mathtext leaves no room after a sum
)


@dataclass(frozen=True, slots=True)
class Image:
    """A drawn figure. source: its SVG as a data URL; text: what it shows, for who cannot see it."""

    source: str
    text: str


@contextmanager
def drawing(width: float, height: float, **style: Any) -> Iterator[Figure]:
    """Give an empty figure of this size in inches; it is drawn in our style, whatever the user's is."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that a font lacks is the browser's to find
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | style)  # type: ignore[arg-type]
        yield Figure(figsize=(width, height))


def _image(figure: Figure, text: str) -> Image:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.03)
    return Image(f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}", text)


def heatmap(panel: Heatmap) -> Image | None:
    """Return a heatmap with its scale: keys across and queries down, the first at the top left."""
    if not panel.values or not panel.values[0]:
        return None
    rows, columns = len(panel.values), len(panel.values[0])
    width = min(3.0, max(1.4, 0.33 * columns))
    with drawing(width + 1.2, min(3.0, max(0.7, width * rows / columns)) + 0.6) as figure:
        import numpy as np

        values = np.ma.masked_invalid(np.array(panel.values, np.float64))
        low, high = (float(values.min()), float(values.max())) if values.count() else (0.0, 1.0)
        peak = max(-low, high) or 1.0
        least, colours = (-peak, "RdBu_r") if low < 0 else (0.0, "Blues")  # with a sign, 0 is in the middle
        axes = figure.add_subplot()
        shown = axes.imshow(values, cmap=colours, vmin=least, vmax=peak, aspect="auto", interpolation="none")
        axes.set(xlabel=panel.columns, ylabel=panel.rows)
        axes.locator_params(integer=True)
        figure.colorbar(shown)
        span = f"{low:.2g} to {high:.2g}" if values.count() else "no finite value"
        axes_text = f"{panel.rows} down, {panel.columns} across, {rows} by {columns}"
        return _image(figure, f"Heatmap, {panel.title}: {axes_text}, {span}; case {panel.case}")


@functools.cache
def formula(latex: str) -> tuple[Image, ...]:
    """Return a formula's parts, which can wrap on a narrow page; nothing if mathtext cannot read one of them."""
    drawn = []
    for part in re.split(r"(?<=[,;])\s*\\quad\s*", latex):
        spoken = part
        for pattern, known in _SPOKEN:
            spoken = re.sub(pattern, known, spoken)
        with drawing(1, 1, **_FORMULA) as figure:
            figure.text(0, 0, f"${spoken}$", fontsize=14)
            try:
                drawn.append(_image(figure, part))
            except (ValueError, RuntimeError):  # mathtext names what it cannot parse
                return ()
    return tuple(drawn)
