"""One concrete problem and its id."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from attention_harness.model.dtypes import DTYPES, DType
from attention_harness.model.errors import HarnessError

AXES = ("B", "H", "Hk", "Lq", "Lk", "L", "P", "D", "Dq", "Dk", "Dv", "E", "Eq", "Ek", "Ev", "A", "O")
"""The size letters that mechanisms share, in the order in which a case's id names them; others follow by alphabet."""

FORMAT = "mechanism-sizes-dtype-options-content-layout[-drawN][@device]"
"""What an id looks like."""

_SIZES = re.compile(r"([A-Z][a-z]*)(\d{1,9})")
_DRAW = re.compile(r"(.*)-draw([1-9]\d{0,17})", re.S)
_WHOLE_NUMBERS = re.compile(r"\d{1,9}(,\d{1,9})+")


@dataclass(frozen=True, eq=False)
class Case:
    """One concrete problem. Its id holds everything that rebuilds it, on any machine, and no position in a list.

    mechanism  a file of `reference/`
    sizes      axis letter -> length, e.g. {"B": 2, "H": 3, "Lq": 5, ...}
    dtype      of every floating tensor
    options    option -> its form, a word, a number or a tuple of whole numbers: {"mask": "full", "causal": "top_left",
               "scale": 0.5}; and the mechanism's own choices
    content    an input distribution, `example.NAME` or `recorded.NAME`
    layout     how the tensors lie in memory
    draw       0; further ones are the same problem with other numbers
    device     where the tensors live
    """

    mechanism: str
    sizes: Mapping[str, int]
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    content: str = "ordinary"
    layout: str = "contiguous"
    draw: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        ordered = {axis: self.sizes[axis] for axis in sorted(self.sizes, key=_axis_order)}
        object.__setattr__(self, "sizes", MappingProxyType(ordered))
        options = {name: self.options[name] for name in sorted(self.options)}
        object.__setattr__(self, "options", MappingProxyType(options))

    @functools.cached_property
    def id(self) -> str:
        """The case as text: `FORMAT`. Options stand in alphabetical order."""
        sizes = "".join(f"{axis}{length}" for axis, length in self.sizes.items())
        options = "+".join(f"{name}={spelt(form)}" for name, form in self.options.items()) or "plain"
        draw = f"-draw{self.draw}" if self.draw else ""
        where = "" if self.device == "cpu" else f"@{self.device}"
        return f"{self.mechanism}-{sizes}-{self.dtype}-{options}-{self.content}-{self.layout}{draw}{where}"

    @classmethod
    def from_id(cls, text: str) -> Self:
        """Rebuild a case from its id, by its grammar alone; `cases.ids.parse` holds it against the declarations."""
        body, _, device = text.partition("@")
        draw = _DRAW.fullmatch(body)
        head, *rest = (draw[1] if draw else body).split("-", 3)
        tail = rest[2].rsplit("-", 2) if len(rest) == 3 else []
        if len(tail) != 3 or not text.isprintable():
            raise HarnessError(f"malformed case id {text!r}; expected {FORMAT}")
        sizes = {axis: int(length) for axis, length in _SIZES.findall(rest[0])}
        options: dict[str, Any] = {}
        for item in tail[0].split("+") if tail[0] != "plain" else ():
            name, equals, form = item.partition("=")
            if not equals or name in options:
                raise HarnessError(f"malformed case id {text!r}: option {item!r} is not name=value, once")
            options[name] = option_form(form)
        number = int(draw[2]) if draw else 0
        case = cls(head, sizes, rest[1], options, tail[1], tail[2], number, device or "cpu")
        if case.id != text:
            raise HarnessError(f"malformed case id {text!r}; its canonical form is {case.id!r}")
        return case

    @functools.cached_property
    def fingerprint(self) -> int:
        """A whole number from a hash of every field but the device: what decides by chance decides alike everywhere."""
        digest = hashlib.sha256(self.on("cpu").id.encode()).digest()
        return int.from_bytes(digest[:8], "little")

    @property
    def format(self) -> DType:
        """The record of its dtype."""
        return DTYPES[self.dtype]

    def on(self, device: str) -> Case:
        """Return the same problem with its tensors on another device."""
        return replace(self, device=device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id


def _axis_order(axis: str) -> tuple[int, str]:
    return (AXES.index(axis) if axis in AXES else len(AXES), axis)


def spelt(form: Any) -> str:
    """Return an option's form as an id spells it: a tuple of whole numbers with commas."""
    return ",".join(map(str, form)) if isinstance(form, tuple) else str(form)


def option_form(text: str) -> Any:
    """Return the form that a text spells: whole numbers with commas, a finite number, or else a word."""
    if _WHOLE_NUMBERS.fullmatch(text):
        return tuple(map(int, text.split(",")))
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
