"""A JSON document written piece by piece, the same text as in one: what lists many rows is never held as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def pieces(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of `json.dumps(document, indent=1)`; a value that is an iterator becomes a list, row by row."""
    yield "{"
    for number, (name, value) in enumerate(document.items()):
        yield f"{',' if number else ''}\n {json.dumps(name)}: "
        if isinstance(value, Iterator):
            yield from _rows(value)
        else:
            yield _indented(value, 1)
    yield "\n}" if document else "}"


def _rows(rows: Iterator[Any]) -> Iterator[str]:
    yield "["
    some = False
    for row in rows:
        yield f"{',' if some else ''}\n  {_indented(row, 2)}"
        some = True
    yield "\n ]" if some else "]"


def _indented(value: Any, depth: int) -> str:
    """Return `json.dumps(value, indent=1)` at a depth; that leaves closures behind, which wait for the collector."""
    if not value or not isinstance(value, Mapping | list | tuple):
        return json.dumps(value)
    if isinstance(value, Mapping):
        inner, (first, last) = [f"{json.dumps(name)}: {_indented(own, depth + 1)}" for name, own in value.items()], "{}"
    else:
        inner, (first, last) = [_indented(own, depth + 1) for own in value], "[]"
    end = "\n" + " " * depth
    return first + ",".join(f"{end} {text}" for text in inner) + end + last
