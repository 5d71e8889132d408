"""Problems of one mechanism each, for every declaration that takes them: a checked-in list of ids that only grows.

They are what no row can say: the shapes of benchmark workloads, one tensor given for several inputs, a parameter far
from one. An id stands there in float32, and is asked in every declared dtype.
"""

from __future__ import annotations

import functools
from pathlib import Path

from attention_harness.cases.ids import parse
from attention_harness.model.case import Case

LIST = Path(__file__).with_suffix(".txt")
"""The list: an id a line; what follows a `#` is the reason why it stands there."""


@functools.cache
def problems() -> tuple[Case, ...]:
    """Return every problem, in the list's order."""
    lines = (line.partition("#")[0].strip() for line in LIST.read_text().splitlines())
    return tuple(parse(line) for line in lines if line)
