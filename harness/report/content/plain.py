"""Long messages of libraries as one plain line; the whole stays beside it."""

from __future__ import annotations

import re

MOST = 160  # characters of a line that a reader takes in at a glance

_ENDS = re.compile(r"(?<=[.;:!?])\s|\n")
_NOISE = (
    (re.compile(r"\[ONNXRuntimeError\]\s*:\s*\d+\s*:\s*"), "ONNX Runtime: "),
    (re.compile(r"\b(?:[A-Za-z_]\w*::)+(~?\w+)"), r"\1"),  # the namespaces of C++
    (re.compile(r"(?<![\w/])/(?:[\w.+-]+/)+([\w.+-]+)"), r"\1"),  # folders of the machine that built it
    (re.compile(r"\s*\(declares [^)]*\)"), ""),  # what else a file declares is no part of the reason
    (re.compile(r"\b(?:const|virtual|static|__cdecl)\s+"), ""),
    (re.compile(r"\([^()]*\w\s*[&*]+\s*\w[^()]*\)"), "()"),  # the parameters of a signature
    (re.compile(r"\s+"), " "),
)


def line(reason: str) -> str:
    """Return a reason in one line of at most `MOST` characters, whole sentences where there is room for one."""
    text = reason
    for pattern, instead in _NOISE[:-1]:
        text = pattern.sub(instead, text)
    parts = [re.sub(r"\s+", " ", part).strip() for part in _ENDS.split(text)]
    kept = ""
    for part in filter(None, parts):
        longer = f"{kept} {part}".strip()
        if kept and len(longer) > MOST:
            break
        kept = longer
    return kept.rstrip(",;:") if len(kept) <= MOST else kept[: MOST - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def folded(reason: str) -> bool:
    """Return whether `line` shortens the reason, so that the whole has to stand beside it."""
    return line(reason) != " ".join(reason.split())
