"""The covering rows: a checked-in list of levels that fits every mechanism, dtype and declaration. It only grows.

A row names a level for each factor of the inputs (lengths, widths, batches, content, layout) and at most two options.
`projection` turns it into the cases of a declaration: a row is asked wherever all of its options are declared, in every
declared dtype. Since no row needs more than two options, a declaration that grows keeps every case that it had; and
since rows without options, with one and with two each cover their pairs by themselves, so does every declaration.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attention_harness.cases.space import SIZED
from attention_harness.model.case import option_form, spelt

LIST = Path(__file__).with_name("rows.txt")
"""The list: a row a line; what follows a `#` is the reason why it stands there."""


@dataclass(frozen=True)
class Row:
    """Levels of the inputs' factors, and forms of at most two options.

    lengths   of queries and keys
    widths    D and Dv, from which the other widths follow
    batches   batch, heads, key heads
    """

    lengths: tuple[int, int]
    widths: tuple[int, int]
    batches: tuple[int, int, int]
    content: str = "ordinary"
    layout: str = "contiguous"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(sorted(self.options.items()))))

    @property
    def levels(self) -> dict[str, Any]:
        """The level of every factor that the row names."""
        names = (*SIZED, "content", "layout")
        return {name: getattr(self, name) for name in names} | dict(self.options)

    @property
    def line(self) -> str:
        """The row as text."""
        return " ".join(f"{name}={spelt(level)}" for name, level in self.levels.items())

    @classmethod
    def from_line(cls, line: str) -> Row:
        """Rebuild a row from its text."""
        levels = {name: option_form(text) for name, _, text in (word.partition("=") for word in line.split())}
        names = (*SIZED, "content", "layout")
        of_inputs = {name: levels.pop(name) for name in names}
        return cls(**of_inputs, options=levels)


@functools.cache
def rows(by_hand: bool = True) -> tuple[Row, ...]:
    """Return every row, in the list's order; by_hand: also those that were written by hand and say why."""
    lines = (
        (text.strip(), reason) for text, _, reason in (line.partition("#") for line in LIST.read_text().splitlines())
    )
    return tuple(Row.from_line(text) for text, reason in lines if text and (by_hand or not reason))


def groups_heads(batches: tuple[int, int, int]) -> bool:
    """Whether there are fewer key heads than query heads."""
    _, heads, key_heads = batches
    return heads != key_heads
