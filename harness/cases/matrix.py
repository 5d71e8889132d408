"""The case matrix: for each tier a checked-in list of ids that only grows.

A tier has the cases of its own list and those of the smaller tiers. `python -m attention_harness.cases.extend` appends
what a new mechanism, option, level or dtype asks for; a line that stands there stays as it is.
"""

from __future__ import annotations

import functools
from pathlib import Path

from attention_harness.cases.ids import parse
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError

TIERS = ("quick", "default", "thorough")

_LISTS = Path(__file__).parent / "matrix"


def path_of(tier: str) -> Path:
    """Return the file that lists a tier's own cases."""
    if tier not in TIERS:
        raise HarnessError(f"no tier {tier!r}; known: {', '.join(TIERS)}")
    return _LISTS / f"{tier}.txt"


def listed(tier: str) -> list[str]:
    """Return the ids in a tier's own list. A line is an id; what follows `#` is the reason why it stands there."""
    lines = (line.partition("#")[0].strip() for line in path_of(tier).read_text().splitlines())
    return [line for line in lines if line]


@functools.cache
def matrix(tier: str = "default") -> tuple[Case, ...]:
    """Return the cases of a tier, each once; `coverage.Coverage` says what they cover."""
    path_of(tier)
    ids = [name for smaller in TIERS[: TIERS.index(tier) + 1] for name in listed(smaller)]
    return tuple(map(parse, ids))
