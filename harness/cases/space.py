"""What the case matrix combines: the factors and their levels, and which mechanism knows which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_harness.cases.distributions import DISTRIBUTIONS, RARE
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

# Lengths: either longer, 1, both sides of the blocks of 16, 32, 64 and 128, and equal to each other and to the widths.
LENGTHS = ((5, 7), (7, 5), (1, 9), (9, 1), (8, 8), (16, 17), (33, 31), (64, 15), (15, 65), (2, 129))
# Widths D, Dv: either larger, 1, powers of two (1/sqrt(D) exact for 16 and 64), and equal to a length.
WIDTHS = ((8, 6), (6, 8), (16, 16), (1, 1), (64, 8), (5, 32), (8, 8))
# Batch, heads, key heads: B = H on purpose, grouped heads, one of each.
BATCHES = ((2, 3, 3), (3, 2, 2), (2, 2, 2), (1, 1, 1), (2, 4, 2), (1, 6, 2))
# Grouped heads in the covering rows, where BATCHES has those without: two and six query heads for a key head.
GROUPED = ((2, 4, 2), (2, 6, 1))
# What goes with options that act in training: enough batches and heads to see that they share a mask of dropout.
TRAINED = {
    "lengths": ((5, 7), (8, 8)),
    "widths": ((16, 8), (8, 6)),
    "batches": ((4, 4, 4),),
    "content": ("ordinary", "large"),
    "layout": ("contiguous", "transposed"),
}
# For each part of a level of these factors, the axes in which it shows.
SIZED = {
    "lengths": (("Lq", "L"), ("Lk", "P")),
    "widths": (("D", "Dq", "E", "A"), ("Dv", "Dk", "Ev", "O")),
    "batches": (("B",), ("H",), ("Hk",)),
}
PLAIN = {"lengths": (5, 7), "widths": (16, 8), "batches": (2, 3, 3), "content": "ordinary", "layout": "contiguous"}
MAY_BE_EMPTY = ("B", "Lq", "Lk", "L", "P")

_HALF_PRECISION_LENGTH = 33  # half-precision matrix products are slow on a CPU: their cases stay small


def factors() -> dict[str, tuple[Any, ...]]:
    """Return every factor's levels, the simplest first; None is the absence of an option, or of any width."""
    options = {option.name: (None, *option.forms) for option in OPTIONS.values() if option.forms}
    return {
        "lengths": LENGTHS,
        "widths": (*WIDTHS, None),
        "batches": BATCHES,
        "dtype": tuple(DTYPES),
        "content": tuple(content for content in DISTRIBUTIONS if content not in RARE),
        "layout": tuple(LAYOUTS),
    } | options


@dataclass(frozen=True)
class Variant:
    """A mechanism with one value for each of its choices: a factor of the matrix like the others."""

    mechanism: Mechanism
    choices: Mapping[str, str]

    @property
    def name(self) -> str:
        """Mechanism and choices."""
        return "-".join((self.mechanism.name, *self.choices.values()))

    def levels(self, factor: str) -> tuple[Any, ...]:
        """Return the levels of a factor that the mechanism distinguishes; of those that look alike to it, the first."""
        every = factors()[factor]
        if factor in SIZED:
            return self._sized(factor, every)
        if factor in OPTIONS:
            return tuple(form for form in every if form is None or self.takes(factor, form))
        return every

    def takes(self, option: str, form: Any) -> bool:
        """Whether the mechanism takes an option in this form."""
        known = OPTIONS[option]
        declared = known.capability(form) in self.mechanism.options
        return declared and not known.lacks(form, self.mechanism.scores)

    def _sized(self, factor: str, every: tuple[Any, ...]) -> tuple[Any, ...]:
        shown = [any(axis in self.mechanism.axes for axis in of_part) for of_part in SIZED[factor]]
        if not any(shown):
            return (None,)
        first: dict[tuple[int, ...], Any] = {}
        for level in every:
            if level is not None:
                first.setdefault(tuple(part for part, show in zip(level, shown, strict=True) if show), level)
        return tuple(level for level in first.values() if factor != "batches" or self._takes_heads(level))

    def _takes_heads(self, level: tuple[int, int, int]) -> bool:
        sizes = dict(zip(("B", "H", "Hk"), level, strict=True))
        needed = [option for option in OPTIONS.values() if option.of_sizes is not None and option.of_sizes(sizes)]
        return all(set(option.capabilities) <= set(self.mechanism.options) for option in needed)

    def sizes(self, levels: Mapping[str, Any]) -> dict[str, int]:
        """Return the sizes that lengths, widths and batches make."""
        widths: Any = levels["widths"] or PLAIN["widths"]
        batches: Any = levels["batches"] or PLAIN["batches"]
        return sizes_of(self.mechanism, levels["lengths"], widths, batches)

    def case(self, levels: Mapping[str, Any]) -> Case:
        """Return the case of one level for every factor."""
        options = {name: form for name, form in levels.items() if name in OPTIONS and form is not None}
        names = ("dtype", "content", "layout")
        of_case = {name: levels[name] for name in names}
        return Case(self.mechanism.name, self.sizes(levels), options=options | dict(self.choices), **of_case)

    def plain(self, dtype: str = "float32", **levels: Any) -> Case:
        """Return the case without options: the first thing to look at when something fails."""
        return self.case(dict.fromkeys(factors()) | PLAIN | {"dtype": dtype} | levels)


def variants() -> list[Variant]:
    """Return every mechanism with every one of its choices."""
    return [
        Variant(known, {name: value} if name else {})
        for known in mechanisms().values()
        for name, values in (known.choices or {"": ("",)}).items()
        for value in values
    ]


def variant_of(case: Case) -> str:
    """Return the name of the variant that a case is of."""
    known = mechanisms()[case.mechanism]
    return "-".join((known.name, *(case.options[name] for name in known.choices)))


def go_together(lengths: Sequence[int], dtype: str) -> bool:
    """Whether a matrix has cases of these lengths in this dtype."""
    return DTYPES[dtype].single or max(lengths) <= _HALF_PRECISION_LENGTH


def sizes_of(
    known: Mechanism, lengths: tuple[int, int], widths: tuple[int, int], batches: tuple[int, int, int]
) -> dict[str, int]:
    """Return a length for every axis of the mechanism; neighbouring axes differ unless the factors make them equal."""
    (queries, keys), (width, value_width), (batch, heads, key_heads) = lengths, widths, batches
    every = {
        "B": batch,
        "H": heads,
        "Hk": key_heads,
        "Lq": queries,
        "Lk": keys,
        "L": queries,
        "P": keys,
        "D": width,
        "Dv": value_width,
        "Dq": width,
        "Dk": value_width + 1,
        "A": width + 3,
        "E": heads * width if "H" in known.settings.values() else width,
        "Eq": width + 2,
        "Ek": value_width + 3,
        "Ev": value_width,
        "O": value_width + 1,
    }
    every |= {letter: every[like] + longer for letter, (like, longer) in known.letters.items()}
    return {axis: every[axis] for axis in known.axes}
