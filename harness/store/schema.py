"""Reads what anybody may have written: sizes are bounded before anything is allocated, then the shape is checked.

The schemas are published in `schemas/`: JSON Schema, draft 7. fastjsonschema compiles them: a verdict takes some 20
microseconds where jsonschema takes 800, and a run holds 100,000 of them. What a schema cannot say is checked here: the
size of a file and of a line, how deep it nests, and that every number is one.
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attention_harness.model.errors import HarnessError

SCHEMAS = Path(__file__).with_name("schemas")
FILE_BYTES, LINES_BYTES, LINE_BYTES = 64 * 2**20, 2 * 2**30, 16 * 2**20
"""A whole document, a file of lines, and one of its lines have so many bytes at most."""
DEEPEST = 20
"""Lists and objects within each other."""

_HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")


def document(path: Path) -> Any:
    """Return the content of a JSON file; its schema is not asked yet."""
    with _opened(path, FILE_BYTES) as file:
        data = parsed(file.read(FILE_BYTES + 1), FILE_BYTES)
    if _depth(data) > DEEPEST:
        raise ValueError(f"it nests deeper than {DEEPEST}")
    return data


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, one at a time; of one that is too long, as much as shows it."""
    with _opened(path, LINES_BYTES) as file:
        while line := file.readline(LINE_BYTES + 1):
            yield line


def parsed(text: bytes, most: int = LINE_BYTES) -> Any:
    """Return the JSON of a text; ValueError says what is wrong.

    NaN and infinity are no JSON. Half a surrogate pair, which no file can hold, becomes U+FFFD.
    """
    if len(text) > most:
        raise ValueError(f"it is longer than {most} bytes")
    data = json.loads(text.decode("utf-8"), parse_constant=_no_number)
    if b"\\u" in text and _HALF_OF_A_PAIR.search(whole := json.dumps(data, ensure_ascii=False)):
        data = json.loads(_HALF_OF_A_PAIR.sub("\ufffd", whole))
    return data


def validated(name: str, data: Any) -> Any:
    """Return data that the schema of that name allows; ValueError says where it does not."""
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator(name)(data)
    except JsonSchemaValueException as error:
        where = "".join(f"[{_cut(part)!r}]" for part in error.path[1:]) or "it"
        rule = error.message.removeprefix(error.name or "").strip()
        raise ValueError(f"{where} {_cut(rule, 200)}") from None
    return data


@functools.cache
def _validator(name: str) -> Callable[[Any], Any]:
    import fastjsonschema

    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return fastjsonschema.compile(schema, use_default=False)


def _opened(path: Path, most: int) -> Any:
    """Open a file of at most so many bytes; never a pipe, which would be waited for, nor a device, which has no end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode) and about.st_size <= most:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    wrong = f"has {about.st_size} bytes; at most {most} are read" if stat.S_ISREG(about.st_mode) else "is no file"
    raise HarnessError(f"{path} {wrong}")


def _depth(data: Any) -> int:
    """Return how many lists and objects stand within each other, one more than DEEPEST at most."""
    level, depth = [data], 0
    while level and depth <= DEEPEST:
        inner = [one for one in level if isinstance(one, dict | list)]
        depth += bool(inner)
        level = [item for one in inner for item in (one.values() if isinstance(one, dict) else one)]
    return depth


def _cut(text: Any, most: int = 60) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
