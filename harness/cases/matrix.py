"""The case matrix: a checked-in list of ids that only grows.

A tier has its own rows and those of the smaller tiers. `python tools/extend_matrix.py` appends what a new mechanism,
option, level or dtype asks for; a row that stands there stays as it is.
"""

from __future__ import annotations

import functools
from pathlib import Path

from attention_harness.cases.ids import parse
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError

TIERS = ("quick", "default", "thorough")

LIST = Path(__file__).with_name("matrix.txt")
"""The list: tier and id, a line each; what follows a `#` is the reason why a row stands there."""


def row(tier: str, name: str) -> str:
    """Return the line of a case in the list."""
    return f"{tier:9}{name}\n"


@functools.cache
def listed(by_hand: bool = True) -> tuple[tuple[str, str], ...]:
    """Return tier and id of every row, in the list's order; by_hand: also those that say why they stand there."""
    lines = (
        (text.split(), reason) for text, _, reason in (line.partition("#") for line in LIST.read_text().splitlines())
    )
    return tuple((words[0], words[1]) for words, reason in lines if words and (by_hand or not reason))


@functools.cache
def matrix(tier: str = "default", by_hand: bool = True) -> tuple[Case, ...]:
    """Return the cases of a tier, each once; `coverage.Coverage` says what they cover. by_hand: as in `listed`."""
    if tier not in TIERS:
        raise HarnessError(f"no tier {tier!r}; known: {', '.join(TIERS)}")
    smaller = TIERS[: TIERS.index(tier) + 1]
    return tuple(parse(name) for one in smaller for of, name in listed(by_hand) if of == one)
