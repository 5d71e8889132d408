"""Figures as inline SVG: intervals, heatmaps, formulas. matplotlib draws; the page's style sheet chooses the colours.

The SVG is taken apart and put together again before it enters the page: matplotlib's own style sheet would apply to the
whole page, its ids repeat from figure to figure, and its black would not show on a dark page.
"""

from __future__ import annotations

import functools
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from attention_harness.model.errors import HarnessError
from attention_harness.report import timings
from attention_harness.report.content import Heatmap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "a report needs matplotlib and Jinja2: pip install attention-harness[report]"

# Colours that no figure would draw by itself, and what stands for them in the page.
INK, FAINT = "#010203", "#010204"
ANSWER_INK = {"faster": "#010205", "slower": "#010206", "same": "#010207"}
_PAGE = {INK: "currentColor", FAINT: "var(--line)", "#010205": "var(--faster)", "#010206": "var(--slower)"}
_PAGE["#010207"] = "currentColor"

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "attention-harness",  # the same figure has the same ids on every run
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "mathtext.fontset": "stix",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
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


def require() -> None:
    """Say how to install matplotlib where it is not."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise HarnessError(MISSING) from error


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in our style, whatever the user's own; a glyph that a font lacks is the browser's to find."""
    require()
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def blank(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


# --- times


@dataclass(frozen=True, slots=True)
class Frame:
    """What all interval figures share, so that one can be compared with the next: the axis and the room for names."""

    limits: tuple[float, float]
    margin: float


def intervals(panel: timings.Panel, frame: Frame, name: str) -> str:
    """Return dots and intervals on a logarithmic axis, the baseline at 1."""
    lines = panel.plotted
    if not lines:
        return ""
    with drawing():
        width = 3.7
        margin, limits = frame.margin, frame.limits
        height = 0.62 + 0.27 * len(lines)
        figure = blank(width, height)
        axes = figure.add_axes((margin / width, 0.46 / height, (width - margin - 0.12) / width, 1 - 0.54 / height))
        for place, line in enumerate(lines):
            _dot(axes, len(lines) - 1 - place, line, limits)
        _ratio_axis(axes, limits)
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.set_yticks(range(len(lines)), [cut(line.implementation) for line in reversed(lines)], parse_math=False)
        axes.tick_params(axis="y", length=0)
        return svg(figure, name, alternative(panel))


def alternative(panel: timings.Panel) -> str:
    """Return what an interval figure shows, for who cannot see it."""
    told = [f"{line.implementation} {line.ratio} ({line.answer})" for line in panel.plotted]
    return f"Time over that of {panel.baseline} on {panel.workload}: {', '.join(told)}"


def frame(panels: Sequence[timings.Panel]) -> Frame:
    """Return a range of ratios that holds every interval, and 1 with some room on both sides; and the margin."""
    lines = [line for panel in panels for line in panel.plotted]
    ends = [end for line in lines for end in line.point or () if end is not None and 0 < end < math.inf]
    ends += [0.8, 1.25]
    longest = max((len(cut(line.implementation)) for line in lines), default=0)
    limits = max(min(ends) / 1.15, 1e-6), min(max(ends) * 1.15, 1e6)
    return Frame(limits, 0.2 + 0.078 * longest)


def _dot(axes: Axes, height: float, line: timings.Line, limits: tuple[float, float]) -> None:
    ratio, low, high = line.point or (1.0, None, None)
    colour = ANSWER_INK.get(line.answer, INK)
    firm = line.answer in ("faster", "slower", "same", "baseline")
    if low is not None and high is not None:
        axes.plot(
            [max(low, limits[0]), min(high, limits[1])], [height] * 2, color=colour, lw=1.6, ls="-" if firm else ":"
        )
    marker = {"faster": "<", "slower": ">", "baseline": "D", "unreliable": "X"}.get(line.answer, "o")
    face = colour if firm else "none"
    axes.plot([ratio], [height], marker, color=colour, mfc=face, mec=colour, ms=5.5, mew=1.2, clip_on=False)


def _ratio_axis(axes: Axes, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.axvline(1, color=INK, lw=0.8, zorder=0)
    ticks = _ticks(*limits)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=FAINT, lw=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("time ÷ baseline's time  (left of 1: faster)")
    axes.spines["left"].set_visible(False)


def _ticks(low: float, high: float) -> list[float]:
    """Return at most seven round numbers between, 1 among them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [round(d * 10.0**p, 9) for p in powers for d in digits if low <= d * 10.0**p <= high]
        found += [round(10.0**p / d, 9) for p in powers for d in (1.25,) if digits[1:2] == (1.2,) and p == 0]
        if len(found) <= 7:
            return sorted(set(found))
    return [10.0**p for p in powers[:: len(powers) // 6 + 1] if low <= 10.0**p <= high] + [1.0]


def cut(name: str, most: int = 18) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


# --- heatmaps


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


# --- formulas


@functools.cache
def formula(latex: str, name: str) -> tuple[str, ...]:
    """Return a formula's parts as SVG, so that they can wrap on a narrow page; nothing if mathtext cannot read one."""
    drawn = []
    for place, part in enumerate(re.split(r"(?<=[,;])\s*\\quad\s*", latex)):
        picture = _math(part, f"{name}-{place}")
        if not picture:
            return ()
        drawn.append(picture)
    return tuple(drawn)


def _math(latex: str, name: str) -> str:
    spoken = latex
    for pattern, known in _SPOKEN:
        spoken = re.sub(pattern, known, spoken)
    with drawing():
        import matplotlib

        matplotlib.rcParams["svg.fonttype"] = "path"  # the page has no mathematical font
        figure = blank(1, 1)
        figure.text(0, 0, f"${spoken}$", fontsize=14)
        try:
            return svg(figure, name, latex, bbox_inches="tight", pad_inches=0.03)
        except (ValueError, RuntimeError):  # mathtext names what it cannot parse; the page then shows the source
            return ""


# --- from matplotlib's SVG to the page's


def svg(figure: Figure, name: str, label: str, **saving: Any) -> str:
    """Return the figure as an element of the page, readable by name to who cannot see it."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, **saving)
    root = ElementTree.fromstring(file.getvalue())
    for element in list(root.iter()):
        for child in list(element):
            if child.tag.endswith(("}metadata", "}style")):
                element.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = dict(_attributes(element.attrib, name))
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": root.attrib["width"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(found: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    for key, value in found.items():
        key = key.rpartition("}")[2]
        if key == "id":
            value = f"{name}-{value}"
        elif key == "href" and value.startswith("#"):
            value = f"#{name}-{value[1:]}"
        else:
            value = value.replace("url(#", f"url(#{name}-")
        if key == "style":
            yield from _styled(value)
        else:
            yield key, value


def _styled(style: str) -> Iterator[tuple[str, str]]:
    """Yield a style, with the page's colours and font, as attributes: the page's policy lets no inline style in."""
    for drawn, meant in _PAGE.items():
        style = style.replace(drawn, meant)
    style = re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", style)
    for declaration in filter(str.strip, style.split(";")):
        key, value = (part.strip() for part in declaration.split(":", 1))
        if key != "font-family":
            yield key, value
