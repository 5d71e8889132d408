"""Content as one HTML page that loads nothing: it holds its styles, its scripts and its data."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from attention_harness.report import templating, words
from attention_harness.report.charts import KINDS, errors, performance, weights
from attention_harness.report.content import (
    Content,
    choice,
    examples,
    growth,
    mechanisms,
    mutation,
    node_cases,
    payback,
    plain,
    roofline,
    summary,
)
from attention_harness.report.content.timings import COSTS
from attention_harness.report.page import mathml
from attention_harness.report.page.packed import packed

_FOLDER = Path(__file__).parent
STYLES = ("page.css", "charts.css", "mechanisms.css", "view.css")
SCRIPTS = ("vendor/vega.min.js", "vendor/vega-interpreter.js", "charts.js", "query.js", "view.js")
"""Files of this folder that the page holds whole, in this order."""


def render(content: Content) -> str:
    """Return the page. Whatever comes from a run is escaped; styles and scripts of this folder alone are markup."""
    environment = templating.environment(_FOLDER, autoescape=True)
    from markupsafe import Markup, escape

    environment.filters["slug"] = lambda text: re.sub(r"[^a-z]+", "-", text.lower()).strip("-") or "none"
    environment.filters["soft"] = lambda text: Markup(str(escape(text)).replace("_", "_<wbr>"))
    environment.filters |= {"line": plain.line, "folded": plain.folded}
    styles, scripts = ([(_FOLDER / name).read_text("utf-8") for name in names] for names in (STYLES, SCRIPTS))
    return environment.get_template("page.html.j2").render(
        choice=choice,
        content=content,
        data=packed(content),
        costs=COSTS,
        drawn=performance.charts(content),
        errors=errors,
        examples=examples,
        growth=growth,
        kinds=[(kind.name, kind.json) for kind in KINDS],
        most_causes=summary.MOST,
        letters=mechanisms.letters,
        mathml=mathml,
        mutation=mutation,
        nodes=node_cases,
        numbers={one.name: one.number for one in content.mechanisms},
        payback=payback,
        policy=_policy(styles, scripts),
        roofline=roofline,
        scripts=[Markup(script) for script in scripts],
        styles=[Markup(style) for style in styles],
        weights=weights,
        words=words,
    )


def _policy(styles: list[str], scripts: list[str]) -> str:
    """Return the page's content-security policy: these texts apply and run, and no other; nothing is loaded."""
    allowed = {"style-src": styles, "script-src": scripts}
    terms = [" ".join([name, *map(_digest, texts)]) for name, texts in allowed.items() if texts]
    return "; ".join(["default-src 'none'", *terms, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    """Return what a policy calls a text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
