"""Covering arrays: rows in which every pair of levels of two factors that go together occurs.

covertable finds them; that takes seconds, and the result is a pure function of what is asked. So those that the case
matrix needs are kept beside this file, under a digest of the question; whatever else is asked is found anew.
`python -m attention_harness.cases.covering` writes them again after a factor, a mechanism or a constraint has changed.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("covering.json")

Factors = Mapping[str, Sequence[Any]]
Constraint = tuple[tuple[str, str], Callable[[Any, Any], bool]]
"""Two factors, and whether two of their levels go together."""


def rows(factors: Factors, constraints: Sequence[Constraint]) -> list[dict[str, Any]]:
    """Return the rows, each with a level for every factor, in a fixed order."""
    kept = _kept().get(question(factors, constraints))
    if kept is None:
        return made(factors, constraints)
    return [{name: factors[name][place] for name, place in zip(factors, row, strict=True)} for row in kept]


def made(factors: Factors, constraints: Sequence[Constraint]) -> list[dict[str, Any]]:
    """Return the rows as covertable finds them."""
    import covertable  # here, so that listing implementations does not wait for it

    def condition(pair: tuple[str, str], allows: Callable[[Any, Any], bool]) -> dict[str, Any]:
        left, right = pair
        return {"operator": "fn", "requires": [left, right], "evaluate": lambda row: allows(row[left], row[right])}

    asked = {name: list(levels) for name, levels in factors.items()}
    found: list[dict[str, Any]] = covertable.make(
        asked, strength=2, constraints=[condition(*constraint) for constraint in constraints]
    )
    return found


def question(factors: Factors, constraints: Sequence[Constraint]) -> str:
    """Return a digest of all that decides the rows: the levels in order, and which pairs of them go together.

    A level is told by its `name`, or else as it is written; what it means to a mechanism shows in the pairs.
    """
    levels = {name: [str(getattr(level, "name", repr(level))) for level in own] for name, own in factors.items()}
    allowed = [
        (left, right, [bool(allows(*pair)) for pair in itertools.product(factors[left], factors[right])])
        for (left, right), allows in constraints
    ]
    return hashlib.sha256(json.dumps([levels, allowed]).encode()).hexdigest()


@functools.cache
def _kept() -> dict[str, list[list[int]]]:
    """Return question -> rows, each as the places of its levels."""
    kept: dict[str, list[list[int]]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return kept


def keep(asked: Sequence[tuple[Factors, Sequence[Constraint]]]) -> int:
    """Find these arrays anew and write them in place of what was kept. Return how many."""
    found = {
        question(factors, constraints): [
            [list(factors[name]).index(row[name]) for name in factors] for row in made(factors, constraints)
        ]
        for factors, constraints in asked
    }
    lines = ",\n".join(f'"{key}": {json.dumps(places, separators=(",", ":"))}' for key, places in found.items())
    KEPT.write_text("{\n" + lines + "\n}\n")
    return len(found)


if __name__ == "__main__":
    from attention_harness.cases.cases import arrays

    print(f"{KEPT.name}: {keep(arrays())} covering arrays")
