"""Figures of the page. matplotlib draws them; each is an image that the page holds, with a text that says the same."""

from __future__ import annotations

import base64
import functools
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attention_harness.model import units
from attention_harness.model.run_facts import Heatmap
from attention_harness.report.content.growth import Sweep
from attention_harness.report.content.timings import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "attention-harness",  # the same figure has the same ids on every run
    "svg.fonttype": "none",
    "text.parse_math": False,
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#d9d7d1",
    "grid.linewidth": 0.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_FORMULA: dict[str, Any] = {"svg.fonttype": "path", "text.parse_math": True}  # the page has no mathematical font
_GREY = "#5c5f68"
# A colour, a mark and whether it is filled, by answer.
_ANSWERS = {
    "faster": ("#1d5fa8", "<", True),
    "slower": ("#b4530f", ">", True),
    "same": (_GREY, "o", True),
    "baseline": (_GREY, "D", True),
    "unreliable": (_GREY, "X", False),
}
# Colours that a reader with any colour vision tells apart (Okabe and Ito), and marks.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
_MARKS = "os^DvPX"
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


def _short(name: str, most: int = 18) -> str:
    """Return a name on one line, shortened where it is long."""
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


def limits(panels: Sequence[Panel]) -> tuple[float, float]:
    """Return a range of ratios that holds every interval, and 1 with some room on both sides."""
    points = [line.point or () for panel in panels for line in panel.plotted]
    ends = [0.8, 1.25, *(end for point in points for end in point if end is not None and 0 < end < math.inf)]
    return max(min(ends) / 1.15, 1e-6), min(max(ends) * 1.15, 1e6)


def intervals(panel: Panel, between: tuple[float, float]) -> Image:
    """Return the time ratios of a cell with their intervals on a logarithmic axis, the baseline at 1."""
    lines = panel.plotted[::-1]
    with drawing(3.7, 0.62 + 0.27 * len(lines)) as figure:
        from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

        axes = figure.add_subplot()
        for place, line in enumerate(lines):
            ratio, low, high = line.point or (1.0, None, None)
            colour, mark, firm = _ANSWERS.get(line.answer, (_GREY, "o", False))
            if low is not None and high is not None:
                ends = [max(low, between[0]), min(high, between[1])]
                axes.plot(ends, [place, place], color=colour, lw=1.6, ls="-" if firm else ":")
            axes.plot([ratio], [place], mark, color=colour, mfc=colour if firm else "none", ms=5.5, clip_on=False)
        axes.axvline(1, color="black", lw=0.8, zorder=0)
        span = between[1] / between[0]
        steps = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0) if span < 5 else (1.0, 2.0, 5.0) if span < 100 else (1.0,)
        axes.set(xscale="log", xlim=between, xlabel="time ÷ baseline's time  (left of 1: faster)")
        axes.xaxis.set(major_locator=LogLocator(subs=steps), minor_locator=NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_yticks(range(len(lines)), [_short(line.implementation) for line in lines])
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.grid(axis="x")
        described = ", ".join(f"{line.implementation} {line.ratio} ({line.answer})" for line in panel.plotted)
        return _image(figure, f"Time over that of {panel.baseline} on {panel.workload}: {described}")


def scaling(sweep: Sweep, memory: bool) -> Image | None:
    """Return time or memory of one call over the length, both logarithmic: a power is a straight line."""
    lines = {curve.implementation: _positive(curve.bytes if memory else curve.seconds) for curve in sweep.curves}
    lines = {name: points for name, points in sorted(lines.items()) if len(points) > 1}
    if not lines:
        return None
    what, unit = ("memory added", units.size) if memory else ("time of one call", units.duration)
    with drawing(4.9, 3.1) as figure:
        axes = figure.add_subplot()
        for place, (name, points) in enumerate(lines.items()):
            colour, mark = _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)]
            axes.plot(list(points), list(points.values()), color=colour, marker=mark, ms=4, lw=1.4, label=_short(name))
        for label, style, known in (
            ("least possible", ":", sweep.least),
            ("scores written out", "--", sweep.written),
        ):
            if memory and known:
                axes.plot(list(known), list(known.values()), color=_GREY, lw=1, ls=style, label=label)
        lengths = sorted({length for points in lines.values() for length in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.set_yscale("log", base=4 if memory else 10)
        axes.yaxis.set_major_formatter(lambda value, _: unit(value))
        axes.minorticks_off()
        axes.set_xlabel("length")
        axes.set_title(what, loc="left", fontsize=9)
        axes.grid(visible=True)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
        ends = ", ".join(f"{name} {points[max(points)]:.3g} at {max(points)}" for name, points in lines.items())
        return _image(figure, f"{what} over length, {sweep.title}: {ends}")


def _positive(points: Mapping[int, float]) -> dict[int, float]:
    return {length: value for length, value in sorted(points.items()) if value > 0}


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
