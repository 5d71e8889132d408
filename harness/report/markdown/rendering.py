"""Content as Markdown, for a repository or a build log. Every text of a run is escaped; a cell stays one line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from attention_harness.report import templating, words
from attention_harness.report.content import Content, choice, mutation, node_cases, payback, roofline
from attention_harness.report.content.growth import HEADER
from attention_harness.report.content.timings import COSTS

QUIET = ("pass", "none", "unsupported", "unavailable", "not_asked")
"""States that are not set in bold."""


class Raw(str):
    """Markdown that is not escaped again."""

    __slots__ = ()


def render(content: Content) -> str:
    """Return the report."""
    environment = templating.environment(
        Path(__file__).parent, finalize=lambda value: value if isinstance(value, Raw) else escaped(str(value))
    )
    environment.filters |= {
        "block": block,
        "code": code,
        "codes": lambda names: Raw(words.listed([code(name) for name in names])),
        "marked": lambda text, state: Raw(text if state in QUIET else f"**{text}**"),
        "number": words.number,
        "raw": Raw,
    }
    environment.globals |= {"rule": rule, "counted": words.counted}
    text = environment.get_template("report.md.j2").render(
        choice=choice,
        content=content,
        costs=COSTS,
        growth=HEADER,
        mutation=mutation,
        nodes=node_cases,
        payback=payback,
        quiet=QUIET,
        roofline=roofline,
        words=words,
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """Return a text on one line in which nothing is markup, at the beginning of a line neither."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~$#!])", r"\\\1", line)
    line = re.sub(r"^(\d+(?=[.)](?!\S))|(?=[-+=]))", r"\1\\", line)  # a list, a rule or a heading
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)  # within a word it is no emphasis


def code(text: str) -> Raw:
    """Return a name as code, or escaped where code cannot hold it inside a table."""
    holds = re.fullmatch(r"[\w.:@+=,/ -]*\w[\w.:@+=,/ -]*", text) and text == text.strip()
    return Raw(f"`{text}`" if holds else escaped(text))


def block(text: str | Iterable[str], language: str = "") -> Raw:
    """Return a code block whose fence is longer than any in the text."""
    lines = text.splitlines() if isinstance(text, str) else list(text)
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return Raw("\n".join([f"{fence}{language}", *lines, fence]))


def rule(columns: Collection[object]) -> Raw:
    """Return the line under a table's header, without its first bar."""
    return Raw(" --- |" * len(columns))
