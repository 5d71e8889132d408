"""The options that a case may add to a mechanism. One file each: the folder listing is the list.

A new option is a new file here. Everything else iterates over `OPTIONS` and names none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Codes, Draw, Group, Hiding, Moved, Option, Part, Place, Stage, Tensor

__all__ = [
    "OPTIONS",
    "TENSORS",
    "Codes",
    "Draw",
    "Group",
    "Hiding",
    "Moved",
    "Option",
    "Part",
    "Place",
    "Stage",
    "Tensor",
    "broken_relations",
    "capabilities",
    "cut",
    "hiding",
    "interval",
    "pipeline",
    "required",
    "visible_pairs",
]


def _found() -> dict[str, Option]:
    """Return the option of every file in this folder that declares one, by name."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        option = getattr(importlib.import_module(f"{__name__}.{path.stem}"), "OPTION", None)
        if option is not None:
            found[option.name] = option
    return found


_FOUND = _found()
OPTIONS: Mapping[str, Option] = MappingProxyType(_FOUND)
"""Every option by name."""
TENSORS: Mapping[str, Tensor] = MappingProxyType(
    {option.name: option.tensor for option in _FOUND.values() if option.tensor is not None}
    | {name: tensor for option in _FOUND.values() for name, tensor in option.brought.items()}
)
"""Every tensor that an option brings, by its name in a call."""


class Described(Protocol):
    """What is read of a case here."""

    @property
    def sizes(self) -> Mapping[str, int]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def capabilities(*groups: Group) -> tuple[str, ...]:
    """Return the names under which the options of these groups are declared; of all options if no group is named."""
    return tuple(
        name for option in OPTIONS.values() if not groups or option.group in groups for name in option.capabilities
    )


def required(case: Described) -> tuple[str, ...]:
    """Return the capabilities that an implementation needs for a case."""
    needed: list[str] = []
    for option in OPTIONS.values():
        if option.of_sizes is not None and option.of_sizes(case.sizes):
            needed += option.capabilities
        elif option.name in case.options:
            needed.append(option.capability(case.options[option.name]))
    return tuple(needed)


def broken_relations(case: Described) -> frozenset[str]:
    """Return the names of the relations that do not hold under a case's options."""
    present = [
        option
        for option in OPTIONS.values()
        if option.name in case.options or (option.of_sizes is not None and option.of_sizes(case.sizes))
    ]
    return frozenset().union(*(option.breaks for option in present))


def pipeline(moved: Mapping[str, Moved] = MappingProxyType({})) -> tuple[Option, ...]:
    """Return the options in the order in which they act. moved: those that act behind another one."""
    order = sorted(OPTIONS.values(), key=lambda option: option.stage)
    if not moved:
        return tuple(order)
    rank = {option.name: number for number, option in enumerate(order)}

    def place(option: Option) -> tuple[int, bool]:
        other = moved.get(option.name)
        return (rank[other.behind], True) if other else (rank[option.name], False)

    return tuple(sorted(order, key=place))


def hiding(options: Iterable[str]) -> dict[str, Hiding]:
    """Return how the tensors of these options hide keys: those that hide any keys first, among them masks.

    options: names; where they come with their forms, a form that hides whole rows alone is no way
    """
    forms = options if isinstance(options, Mapping) else {}
    found = {name: OPTIONS[name] for name in options if name in OPTIONS}
    ways = {
        name: option
        for name, option in found.items()
        if option.hiding is not None and forms.get(name) not in option.hiding.whole_rows
    }

    def rank(name: str) -> tuple[bool, bool]:
        option = ways[name]
        return not (option.hiding and option.hiding.any_keys), option.stage is not Stage.VISIBILITY

    return {name: way for name in sorted(ways, key=rank) if (way := ways[name].hiding) is not None}


def interval(options: Mapping[str, Any], place: Place) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last key that the options without a tensor show each query, as columns."""
    first = np.zeros((len(place.query), 1), np.int64)
    last = np.full_like(first, place.keys - 1)
    for name, form in options.items():
        known = OPTIONS.get(name)
        if known is not None and known.interval is not None and form is not None and not known.brings(form):
            low, high = known.interval(form, place, options)
            first, last = np.maximum(first, low), np.minimum(last, high)
    return first, last


def visible_pairs(options: Mapping[str, Any], queries: int, keys: int) -> int:
    """Return how many pairs of query and key the options without a tensor show, in one head.

    What a tensor hides depends on its numbers, and is not counted.
    """
    first, last = interval(options, Place(queries, keys))
    return int(np.maximum(last - first + 1, 0).sum())


def cut(options: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return the options of a block of queries: every tensor cut to the rows, every other form as it is."""
    return {
        name: TENSORS[name].cut(value, place.rows, place.queries)
        if name in TENSORS and hasattr(value, "shape")
        else value
        for name, value in options.items()
    }
