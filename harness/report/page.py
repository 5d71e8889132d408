"""Content as one HTML page that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from attention_harness.report import mutation, reliability, templates
from attention_harness.report.content import Content
from attention_harness.report.figures import curves, formulas, heatmaps, intervals, svg
from attention_harness.report.growth import HEADER


def render(content: Content) -> str:
    """Return the page. Whatever comes from a run is escaped; only the figures and the style sheet are markup."""
    environment = templates.environment(autoescape=True)
    svg.require()
    from markupsafe import Markup, escape

    environment.filters["slug"] = _slug
    environment.filters["soft"] = lambda text: Markup(str(escape(text)).replace("_", "_<wbr>"))
    style = (templates.FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        content=content,
        growth=HEADER,
        mutation=mutation,
        reliability=reliability,
        style=Markup(style),
        style_hash=_hash(style),
        **{kind: _marked(drawn, Markup) for kind, drawn in _figures(content).items()},
    )


def _figures(content: Content) -> dict[str, list[Any]]:
    """Return the figures as SVG: of each panel, sweep, front, formula and heatmap, in the order of the content."""
    panels, mechanisms = content.timing.panels, content.mechanisms
    frame = intervals.frame(panels)
    inks = curves.series([row.implementation for panel in panels for row in panel.lines])
    return {
        "intervals": [intervals.intervals(panel, frame, f"times{i}") for i, panel in enumerate(panels)],
        "sweeps": [
            [curves.scaling(sweep, inks, memory, f"sweep{i}-{memory:d}") for memory in (False, True)]
            for i, sweep in enumerate(content.sweeps)
        ],
        "fronts": [curves.front(front, inks, f"front{i}") for i, front in enumerate(content.fronts)],
        "formulas": [
            list(formulas.formula(one.formula, f"formula{i}")) if one.formula else []
            for i, one in enumerate(mechanisms)
        ],
        "heatmaps": [
            [heatmaps.heatmap(panel, f"heat{i}-{j}") for j, panel in enumerate(one.panels)]
            for i, one in enumerate(mechanisms)
        ],
    }


def _marked(drawn: Any, markup: type[str]) -> Any:
    """Return nested lists of figures as markup, which the template does not escape."""
    return [_marked(one, markup) for one in drawn] if isinstance(drawn, list) else markup(drawn)


def _hash(text: str) -> str:
    """Return what a content-security policy calls a text: this style sheet applies, and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _slug(text: str) -> str:
    """Return a name as part of a CSS class."""
    return re.sub(r"[^a-z]+", "-", text.lower()).strip("-") or "none"
