"""The verdicts as the page's script reads them: columns of numbers into tables of texts, compressed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attention_harness.model.causes import cause
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.report import words
from attention_harness.report.content import Content
from attention_harness.report.content.assembly import SEVERITY
from attention_harness.report.content.matrix import GLYPHS

CASE = "\0"
"""What stands for the case's id in a replay command."""


def packed(content: Content) -> str:
    """Return the data of `view.js`: JSON, by gzip, in base64.

    tables    column -> its texts, in the order in which they came
    columns   column -> for each verdict the place of its text
    statuses  status -> its sign, and whether it is wrong, or was not checked; the most severe first
    """
    ordered = sorted(content.verdicts, key=lambda v: (v.implementation, v.case, v.check))
    causes = _causes(content)
    columns: dict[str, Callable[[Verdict], str]] = {
        "implementation": lambda v: v.implementation,
        "mechanism": lambda v: v.mechanism,
        "case": lambda v: v.case,
        "check": lambda v: v.check,
        "status": lambda v: v.status.value,
        "ratio": lambda v: words.error_ratio(v.error_ratio),
        # of a pass the error ratio says it all: what every verdict has is most of a page
        "error": lambda v: "" if v.status is Status.PASS else words.amount(v.error),
        "where": lambda v: "" if v.where is None or v.status is Status.PASS else f"[{', '.join(map(str, v.where))}]",
        "said": lambda v: v.reason or (f"{v.finding}; declares {v.declared}" if v.declared else v.finding),
        "replay": lambda v: v.replay.replace(v.case, CASE),
        "judged": lambda v: "no" if v.finding else "yes",
        "informative": lambda v: "no" if v.uninformative else "yes",
        "cause": lambda v: causes.get(cause(v), "") if v.status in SHOWN else "",
    }
    tables, places = {}, {}
    for name, text in columns.items():
        tables[name], places[name] = _column(map(text, ordered))
    data = {"tables": tables, "columns": places, "statuses": _statuses(), "wholeCase": CASE}
    whole = json.dumps(data, separators=(",", ":"))
    return base64.b64encode(gzip.compress(whole.encode(), mtime=0)).decode()


SHOWN = (*NONCONFORMING, Status.KNOWN_FAILURE)
"""Statuses of which the page shows each cause."""


def _causes(content: Content) -> dict[Any, str]:
    """Return the cause of each group -> its number on the page."""
    return {cause(group.worst): str(n) for n, group in enumerate((*content.failures, *content.known), 1)}


def _column(texts: Iterable[str]) -> tuple[list[str], Sequence[int]]:
    table: dict[str, int] = {}
    places = [table.setdefault(text, len(table)) for text in texts]
    return list(table), places


def _statuses() -> dict[str, dict[str, Any]]:
    return {
        status.value: {
            "glyph": GLYPHS[status.value],
            "wrong": status in NONCONFORMING,
            "asked": status not in NOT_CHECKED,
        }
        for status in SEVERITY
    }
