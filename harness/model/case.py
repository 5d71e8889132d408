"""One concrete problem and its id."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from attention_harness.model.dtypes import DTYPES, DType
from attention_harness.model.errors import HarnessError

AXES = ("B", "H", "Hk", "Lq", "Lk", "L", "P", "D", "Dq", "Dk", "Dv", "E", "Eq", "Ek", "Ev", "A", "O")
"""Every size letter, in the order in which a case's id names them."""


_SIZES = re.compile(r"([A-Z][a-z]*)(\d{1,9})")


@dataclass(frozen=True, eq=False)
class Case:
    """One concrete problem. Its id holds everything that rebuilds it, on any machine.

    mechanism  a file of `reference/`
    sizes      axis letter -> length, e.g. {"B": 2, "H": 3, "Lq": 5, ...}
    dtype      of every floating tensor
    options    option -> its form: {"mask": "full", "causal": "top_left", "valid_lens": "batch", "scale": 0.5}; a scale
               may also be "learned": a tensor of shape (1) that comes with the call
    content    an input distribution, `example.NAME` or `recorded.NAME`
    layout     how the tensors lie in memory
    seed       of the inputs
    device     where the tensors live
    """

    mechanism: str
    sizes: Mapping[str, int]
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    content: str = "ordinary"
    layout: str = "contiguous"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        ordered = {axis: self.sizes[axis] for axis in sorted(self.sizes, key=AXES.index)}
        object.__setattr__(self, "sizes", MappingProxyType(ordered))
        options = {name: self.options[name] for name in sorted(self.options, key=_option_order)}
        object.__setattr__(self, "options", MappingProxyType(options))

    @property
    def id(self) -> str:
        """`mechanism-sizes-dtype-options-content-layout-seed[@device]`."""
        sizes = "".join(f"{axis}{length}" for axis, length in self.sizes.items())
        options = "+".join(f"{name}={value}" for name, value in self.options.items()) or "plain"
        where = "" if self.device == "cpu" else f"@{self.device}"
        head = f"{self.mechanism}-{sizes}-{self.dtype}-{options}"
        return f"{head}-{self.content}-{self.layout}-{self.seed}{where}"

    @classmethod
    def from_id(cls, text: str) -> Self:
        """Rebuild a case from its id; the mechanism's declaration is consulted by `cases.cases.parse`."""
        shape = "mechanism-sizes-dtype-options-content-layout-seed[@device]"
        body, _, device = text.partition("@")
        head, *rest = body.split("-", 3)
        tail = rest[2].rsplit("-", 3) if len(rest) == 3 else []
        if len(tail) != 4 or not re.fullmatch(r"\d{1,18}", tail[3]) or not text.isprintable():
            raise HarnessError(f"malformed case id {text!r}; expected {shape}")
        sizes = {axis: int(length) for axis, length in _SIZES.findall(rest[0])}
        unknown = [axis for axis in sizes if axis not in AXES]
        if unknown:
            raise HarnessError(f"malformed case id {text!r}: unknown size {unknown[0]!r}; known: {', '.join(AXES)}")
        options: dict[str, Any] = {}
        for item in tail[0].split("+") if tail[0] != "plain" else ():
            name, equals, value = item.partition("=")
            if not equals or name in options:
                raise HarnessError(f"malformed case id {text!r}: option {item!r} is not name=value, once")
            options[name] = _number(value, text) if name in ("scale", "dropout") and value != "learned" else value
        case = cls(head, sizes, rest[1], options, tail[1], tail[2], int(tail[3]), device or "cpu")
        if case.id != text:
            raise HarnessError(f"malformed case id {text!r}; its canonical form is {case.id!r}")
        return case

    @property
    def format(self) -> DType:
        """The record of the dtype."""
        return DTYPES[self.dtype]

    @property
    def requires(self) -> tuple[str, ...]:
        """The declared options that an implementation needs for this case."""
        needed = [name for name in ("mask", "bias", "valid_lens", "dropout") if name in self.options]
        if "scale" in self.options:
            needed.append("learned_scale" if self.options["scale"] == "learned" else "scale")
        if "causal" in self.options:
            needed.append(f"causal_{self.options['causal']}")
        if self.sizes.get("Hk", self.sizes.get("H")) != self.sizes.get("H"):
            needed.append("grouped_heads")
        return tuple(needed)

    def on(self, device: str) -> Case:
        """Return the same problem with its tensors on another device."""
        return replace(self, device=device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id


def _option_order(name: str) -> tuple[int, str]:
    """Visibility first, then numbers, then a mechanism's choices: the order in which an id names them."""
    order = ("mask", "bias", "valid_lens", "causal", "scale", "dropout")
    return (order.index(name) if name in order else len(order), name)


def _number(text: str, case_id: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HarnessError(f"malformed case id {case_id!r}: {text!r} is not a finite number")
    return value
