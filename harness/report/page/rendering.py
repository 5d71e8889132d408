"""Content as one HTML page that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from attention_harness.report import templating, words
from attention_harness.report.charts import figures
from attention_harness.report.content import Content, growth, mutation, node_cases
from attention_harness.report.content.timings import COSTS


def render(content: Content) -> str:
    """Return the page. Whatever comes from a run is escaped; the style sheet alone is markup."""
    environment = templating.environment(Path(__file__).parent, autoescape=True)
    from markupsafe import Markup, escape

    environment.filters["slug"] = lambda text: re.sub(r"[^a-z]+", "-", text.lower()).strip("-") or "none"
    environment.filters["soft"] = lambda text: Markup(str(escape(text)).replace("_", "_<wbr>"))
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        content=content,
        costs=COSTS,
        figures=figures,
        growth=growth,
        limits=figures.limits(content.timing.panels),
        mutation=mutation,
        nodes=node_cases,
        style=Markup(style),
        # what a content-security policy calls a text: this style sheet applies, and no other
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        words=words,
    )
