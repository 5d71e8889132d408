"""Draws with matplotlib in the page's own style, and takes its SVG apart for the page.

matplotlib's own style sheet would apply to the whole page, its ids repeat from figure to figure, and its black would
not show on a dark page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from attention_harness.model.errors import HarnessError
from attention_harness.report.templates import MISSING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def require() -> None:
    """Say how to install matplotlib where it is not."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise HarnessError(MISSING) from error


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in our style, whatever the user's is; a glyph that a font lacks is the browser's to find."""
    require()
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def cut(name: str, most: int = 18) -> str:
    """Return a name on one line, shortened where it is long."""
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


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
