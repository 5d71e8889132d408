"""Chooses few cases that together show each fact: for what is built for each structure of inputs, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def covering(facts: Mapping[T, Iterable[str]]) -> list[T]:
    """Return some of the keys, which together have all the facts; each has most of what those before it lack."""
    left = {key: frozenset(own) for key, own in facts.items()}
    missing = set().union(*left.values())
    chosen = []
    while missing:
        chosen.append(max(left, key=lambda key: len(left[key] & missing)))
        missing -= left[chosen[-1]]
    return chosen
