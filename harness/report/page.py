"""Content as one HTML page that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from attention_harness.model.errors import HarnessError
from attention_harness.report import figures, mutation, plots, reliability
from attention_harness.report.content import Content
from attention_harness.report.markdown import GROWTH

TEMPLATE = Path(__file__).with_name("page.html.j2")
STYLE = Path(__file__).with_name("page.css")


def render(told: Content) -> str:
    """Return the page. Whatever comes from a run is escaped; only the figures are markup."""
    try:
        import jinja2
        import markupsafe
        from markupsafe import Markup
    except ImportError as error:
        raise HarnessError(figures.MISSING) from error
    figures.require()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["slug"] = _slug
    environment.filters["soft"] = lambda text: Markup(str(markupsafe.escape(text)).replace("_", "_<wbr>"))
    frame = figures.frame(told.timing.panels)
    intervals = [Markup(figures.intervals(p, frame, f"times{i}")) for i, p in enumerate(told.timing.panels)]
    inks = plots.series([row.implementation for p in told.timing.panels for row in p.lines])
    sweeps = [
        [Markup(plots.scaling(s, inks, memory, f"sweep{i}-{memory:d}")) for memory in (False, True)]
        for i, s in enumerate(told.sweeps)
    ]
    fronts = [Markup(plots.front(f, inks, f"front{i}")) for i, f in enumerate(told.fronts)]
    formulas, heatmaps = [], []
    for i, mechanism in enumerate(told.mechanisms):
        drawn = figures.formula(mechanism.formula, f"formula{i}") if mechanism.formula else ()
        formulas.append([Markup(part) for part in drawn])
        heatmaps.append([Markup(figures.heatmap(p, f"heat{i}-{j}")) for j, p in enumerate(mechanism.panels)])
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    seen: dict[str, Any] = {"mutation": mutation, "sensitivity": list(mutation.sensitivity_table(told.sensitivity))}
    seen |= {"survival": reliability.sentence(told.reliability), "survival_header": reliability.HEADER}
    style = STYLE.read_text(encoding="utf-8")
    seen |= {"style": Markup(style), "style_hash": _hash(style)}
    return template.render(
        told=told,
        intervals=intervals,
        sweeps=sweeps,
        fronts=fronts,
        growth=GROWTH,
        formulas=formulas,
        heatmaps=heatmaps,
        **seen,
    )


def _hash(text: str) -> str:
    """Return what a content-security policy calls a text: this style sheet applies, and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _slug(text: str) -> str:
    """Return a name as part of a CSS class."""
    return re.sub(r"[^a-z]+", "-", text.lower()).strip("-") or "none"
