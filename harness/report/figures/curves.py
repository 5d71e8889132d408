"""Time and memory over length, and speed against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attention_harness.report.figures.svg import FAINT, INK, blank, cut, drawing, svg
from attention_harness.report.growth import Front, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that a reader with any colour vision tells apart (Okabe and Ito), on a light and on a dark page; and marks.
_SERIES = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#e69f00", "v"),
    ("#56b4e9", "P"),
    ("#8c8c8c", "X"),
)
_UNITS_S = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
_UNITS_B = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))


def series(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a mark for each name, the same in every figure of a report."""
    return {name: _SERIES[place % len(_SERIES)] for place, name in enumerate(sorted(set(names)))}


def scaling(sweep: Sweep, inks: Mapping[str, tuple[str, str]], memory: bool, name: str) -> str:
    """Return time or memory of one call over the length, both logarithmic: a power is a straight line."""
    units, what = (_UNITS_B, "memory added") if memory else (_UNITS_S, "time of one call")
    lines = {c.implementation: dict(c.bytes if memory else c.seconds) for c in sweep.curves}
    lines = {who: {n: v for n, v in sorted(points.items()) if v > 0} for who, points in lines.items()}
    lines = {who: points for who, points in lines.items() if len(points) > 1}
    if not lines:
        return ""
    with drawing():
        width, height = 4.9, 3.1
        figure = blank(width, height)
        axes = figure.add_axes((0.66 / width, 0.5 / height, (width - 2.05) / width, 1 - 0.72 / height))
        for who, points in lines.items():
            colour, mark = inks[who]
            axes.plot(list(points), list(points.values()), color=colour, marker=mark, ms=4, lw=1.4)
        ends = {who: list(points.values())[-1] for who, points in lines.items()}
        if memory:
            _bounds(axes, sweep)
            ends |= {label: list(points.values())[-1] for label, points in _references(sweep).items()}
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        lengths = sorted({n for points in lines.values() for n in points})
        axes.set_xticks(lengths, [f"{n:,}" for n in lengths])
        axes.minorticks_off()
        axes.grid(color=FAINT, lw=0.5)
        axes.set_axisbelow(True)
        axes.set_xlabel("length")
        axes.set_title(what, loc="left", fontsize=9, color=INK)
        _unit_ticks(axes, units)
        _labels(axes, ends, {who: inks[who][0] for who in lines})
        described = ", ".join(f"{who} {points[max(points)]:.3g} at {max(points)}" for who, points in lines.items())
        return svg(figure, name, f"{what} over length, {sweep.title}: {described}")


def _references(sweep: Sweep) -> dict[str, Mapping[int, float]]:
    return {"least possible": sweep.least, "scores written out": sweep.written}


def _bounds(axes: Axes, sweep: Sweep) -> None:
    for points, style in zip(_references(sweep).values(), (":", "--"), strict=True):
        axes.plot(list(points), list(points.values()), color=INK, lw=1, ls=style, alpha=0.6)


def _unit_ticks(axes: Axes, units: Sequence[tuple[float, str]]) -> None:
    """Write the powers of the axis in units that a person reads."""
    low, high = axes.get_ylim()
    step = 4 if units is _UNITS_B else 10
    found = [scale * step**p for scale, _ in units for p in range(5 if step == 4 else 3)]
    ticks = sorted({tick for tick in found if low <= tick <= high})
    ticks = ticks[:: len(ticks) // 6 + 1]
    names = []
    for tick in ticks:
        scale, unit = next(pair for pair in reversed(units) if tick >= pair[0])
        names.append(f"{tick / scale:g} {unit}")
    axes.set_yticks(ticks, names)


def _labels(axes: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Name each line at its end, apart from its neighbours."""
    height = axes.transAxes.inverted()
    order = sorted(ends, key=lambda who: ends[who])
    places = [height.transform(axes.transData.transform((1, ends[who])))[1] for who in order]
    for place in range(1, len(places)):
        places[place] = max(places[place], places[place - 1] + 0.068)
    over = max(0.0, places[-1] - 1.02) if places else 0.0
    for place in reversed(range(len(places))):  # push back down what was pushed out at the top
        limit = places[place + 1] - 0.068 if place + 1 < len(places) else places[place] - over
        places[place] = min(places[place], limit)
    for who, place in zip(order, places, strict=True):
        axes.text(1.03, place, cut(who), transform=axes.transAxes, va="center", fontsize=8, color=colours.get(who, INK))


def front(found: Front, inks: Mapping[str, tuple[str, str]], name: str) -> str:
    """Return speed across and use of the error bound up; those that no other beats in both are joined."""
    with drawing():
        from matplotlib.ticker import FixedLocator, NullLocator

        width, height = 4.9, 2.9
        figure = blank(width, height)
        axes = figure.add_axes((0.5 / width, 0.5 / height, (width - 2.05) / width, 1 - 0.74 / height))
        ahead = [spot for spot in found.spots if spot.ahead]
        axes.plot([s.ratio for s in ahead], [s.error_ratio for s in ahead], color=INK, lw=0.8, ls="--", alpha=0.5)
        for spot in found.spots:
            colour, mark = inks[spot.implementation]
            face = colour if spot.ahead else "none"
            axes.plot([spot.ratio], [spot.error_ratio], mark, color=colour, mfc=face, ms=7, mew=1.3, clip_on=False)
        ratios, top = [spot.ratio for spot in found.spots], max(spot.error_ratio for spot in found.spots)
        axes.set_xscale("log")
        axes.set_xlim(min([*ratios, 0.8]) / 1.3, max([*ratios, 1.25]) * 1.3)
        axes.set_ylim(0, max(top * 1.18, 1e-6))
        ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if _inside(t, axes.get_xlim())]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{tick:g}" for tick in ticks])
        axes.axvline(1, color=INK, lw=0.6, zorder=0)
        axes.grid(color=FAINT, lw=0.5)
        axes.set_axisbelow(True)
        axes.set_xlabel("time ÷ baseline's time  (left: faster)")
        axes.set_title("worst error ratio  (down: more accurate)", loc="left", fontsize=9, color=INK)
        _key(axes, found, inks)
        described = ", ".join(f"{s.implementation} {s.ratio:.3g} and {s.error_ratio:.2g}" for s in found.spots)
        return svg(figure, name, f"Time ratio and error ratio, {found.title}: {described}")


def _inside(tick: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= tick <= limits[1]


def _key(axes: Axes, found: Front, inks: Mapping[str, tuple[str, str]]) -> None:
    """Name the spots beside the axes, the most accurate at the bottom: spots that nearly coincide hide names inside."""
    order = sorted(found.spots, key=lambda spot: spot.error_ratio)
    step = min(0.12, 1 / max(len(order), 1))
    for place, spot in enumerate(order):
        colour, mark = inks[spot.implementation]
        face, height = colour if spot.ahead else "none", 0.04 + place * step
        placed: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([1.07], [height], mark, color=colour, mfc=face, ms=6, mew=1.2, **placed)
        axes.text(1.12, height, cut(spot.implementation), va="center", fontsize=8, color=colour, **placed)
