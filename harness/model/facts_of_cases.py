"""Facts of cases, from their ids alone: options and forms, dtype, content, layout, sizes and relations between sizes.

A fact holds for some of the cases, which are the bits of a whole number. Thresholds lie between sizes that occur.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attention_harness.model.case import Case, spelt
from attention_harness.model.dtypes import DTYPES

_LENGTHS = ("Lq", "Lk", "L", "P")
_PRODUCTS = (("B", "H"), ("Lq", "Lk"), ("L", "P"))  # slots, and scores of a head
_COMPARED = (("Lq", "Lk"), ("L", "P"), ("Hk", "H"), ("D", "Dv"))
_COINCIDING = (("B", "H"), ("Lk", "D"), ("Lk", "Dv"), ("Lq", "D"), ("Lq", "B"), ("Lk", "B"), ("Lk", "H"), ("Lq", "H"))
_TILES = (8, 16, 32, 64)
_MOST = 600  # facts; ids of somebody else's could give any number
_NEGATED, _AS_SIMPLE = 0.7, 0.25  # weights


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that holds for some of the cases. weight: how much a reader has to take in. cases: a bit for each."""

    text: str
    weight: float
    cases: int


def facts_of(cases: Sequence[Case]) -> list[Fact]:
    """Return the facts that hold for some of the cases and not for all, the simplest first.

    What holds for the same cases is one fact: the second simplest is named beside the first where it is as simple.
    """
    every = (1 << len(cases)) - 1
    found: dict[int, Fact] = {}
    proposed = sorted((*_named(cases), *_sized(cases), *_related(cases)), key=lambda fact: fact.weight)
    for fact in proposed:
        known = found.setdefault(fact.cases, fact)
        if known is not fact and fact.weight < known.weight + _AS_SIMPLE and "(" not in known.text:
            found[fact.cases] = replace(known, text=f"{known.text} (here also {fact.text})")
    found.pop(0, None)
    found.pop(every, None)
    return list(found.values())[:_MOST]


def _bits(cases: Sequence[Case], holds: Callable[[Case], Any]) -> int:
    return sum(1 << place for place, case in enumerate(cases) if holds(case))


def _by_value(cases: Sequence[Case], value: Callable[[Case], Any]) -> dict[Any, int]:
    """Return the cases of each value; None is none."""
    found: dict[Any, int] = {}
    for place, case in enumerate(cases):
        if (one := value(case)) is not None:
            found[one] = found.get(one, 0) | 1 << place
    return found


def _named(cases: Sequence[Case]) -> Iterator[Fact]:
    """Yield facts of what an id names: dtype, mechanism, content, layout, options and forms, and what is absent."""
    every = (1 << len(cases)) - 1
    for text, usual, value in (
        ("dtype {}", "", lambda case: case.dtype),
        ("{}", "", lambda case: case.mechanism),
        ("{} content", "ordinary", lambda case: case.content),
        ("{} layout", "contiguous", lambda case: case.layout),
    ):
        for name, having in _by_value(cases, value).items():
            yield Fact(text.format(name), 1.2, having)
            if name == usual:
                yield Fact(text.format(f"non-{name}"), 1.2 + _NEGATED, every ^ having)
    yield Fact("a dtype of 16 bits", 1.3, _bits(cases, lambda case: case.dtype in DTYPES and not case.format.single))
    yield Fact("draw above 0", 3.0, _bits(cases, lambda case: case.draw))
    for name in sorted({name for case in cases for name in case.options}):
        forms = _by_value(cases, _form_of(name))
        present = sum(forms.values())
        yield Fact(name, 1.0, present)
        yield Fact(f"no {name}", 1.0 + _NEGATED, every ^ present)
        for form, having in forms.items():
            yield Fact(f"{name}={spelt(form)}", 1.4, having)
        yield from _cuts(name, {form: having for form, having in forms.items() if isinstance(form, float)}, 2.0)


def _sized(cases: Sequence[Case]) -> Iterator[Fact]:
    """Yield facts of one axis, or of a product of two."""
    for axis in sorted({axis for case in cases for axis in case.sizes}):
        sizes = _by_value(cases, _size_of(axis))
        yield from _cuts(axis, sizes, 1.9 if axis in _LENGTHS else 2.0)
        for tile in _TILES:
            uneven = sum(having for size, having in sizes.items() if size % tile)
            yield Fact(f"{axis} no multiple of {tile}", 2.5, uneven)
    for one, other in _PRODUCTS:
        products = _by_value(cases, _product_of(one, other))
        yield from _cuts(f"{one}*{other}", products, 2.6)


def _form_of(option: str) -> Callable[[Case], Any]:
    return lambda case: case.options.get(option)


def _size_of(axis: str) -> Callable[[Case], int | None]:
    return lambda case: case.sizes.get(axis)


def _product_of(one: str, other: str) -> Callable[[Case], int | None]:
    return lambda case: case.sizes[one] * case.sizes[other] if {one, other} <= set(case.sizes) else None


def _cuts(what: str, by_number: dict[Any, int], weight: float) -> Iterator[Fact]:
    """Yield that a number is above or at most each value that occurs, or equal to it."""
    values, below = sorted(by_number), 0
    every = sum(by_number.values())
    for place, value in enumerate(values):
        below |= by_number[value]
        yield Fact(f"{what} = {value:g}", weight + 0.3 * bool(place), by_number[value])
        if 0 < place < len(values) - 1:
            yield Fact(f"{what} <= {value:g}", weight, below)
        yield Fact(f"{what} > {value:g}", weight, every ^ below)


def _related(cases: Sequence[Case]) -> Iterator[Fact]:
    """Yield relations between two sizes of a case."""
    relations = {"<": operator.lt, "=": operator.eq, ">": operator.gt}
    for (one, other), (sign, holds) in itertools.product(_COMPARED, relations.items()):
        yield Fact(f"{one} {sign} {other}", 1.8, _bits(cases, _relation(one, other, holds)))
    for one, other in _COINCIDING:
        yield Fact(f"{one} = {other}", 2.5, _bits(cases, _relation(one, other, operator.eq)))


def _relation(one: str, other: str, holds: Callable[[int, int], bool]) -> Callable[[Case], bool]:
    return lambda case: one in case.sizes and other in case.sizes and holds(case.sizes[one], case.sizes[other])
