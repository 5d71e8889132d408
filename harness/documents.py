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
    return json.dumps(value, indent=1).replace("\n", "\n" + " " * depth)
