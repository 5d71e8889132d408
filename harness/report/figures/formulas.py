"""Formulas, set by mathtext."""

from __future__ import annotations

import functools
import re

from attention_harness.report.figures.svg import blank, drawing, svg

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
