"""Content as Markdown, for a repository or a build log. Every text of a run is escaped; a cell stays one line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from attention_harness.model.mechanism_facts import Numbers, Step, WorkedExample
from attention_harness.report import templating, words
from attention_harness.report.content import Content, choice, examples, mutation, node_cases, payback, roofline
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
        "math": math,
        "expected": expected,
        "given": given,
        "worked": worked,
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
        examples=examples,
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


def math(latex: str) -> Raw:
    r"""Return a block that GitHub typesets. It refuses \operatorname, and sets the same name as \mathrm."""
    return block(" ".join(latex.replace(r"\operatorname", r"\mathrm").split()), "math")


def given(example: WorkedExample) -> Raw:
    """Return what goes into an example as such a block."""
    return math(r", \quad ".join(f"{one.symbol} = {_tensor(one.numbers)}" for one in example.given))


def worked(step: Step, whole: bool = False) -> Raw:
    """Return a step's formula and its numbers as such a block."""
    return math(rf"{step.formula}: \quad {_tensor(step.computed, whole)}")


def expected(step: Step) -> Raw:
    """Return the numbers that the notes expect of a step as such a block."""
    return math(_tensor(step.expected, True) if step.expected else "")


def _tensor(numbers: Numbers, whole: bool = False) -> str:
    """Return a tensor in LaTeX, its matrices side by side; of a large one the shape alone."""
    if not numbers.matrices or examples.large(numbers):
        return rf"\text{{{examples.size(numbers)} numbers}}"
    terms = []
    for matrix in numbers.matrices:
        label, term = re.sub(r"[^\w ,]", "", matrix.label), examples.latex(matrix, whole)
        terms.append(rf"\underset{{\text{{{label}}}}}{{{term}}}" if label else term)
    return r" \quad ".join(terms)


def rule(columns: Collection[object]) -> Raw:
    """Return the line under a table's header, without its first bar."""
    return Raw(" --- |" * len(columns))
