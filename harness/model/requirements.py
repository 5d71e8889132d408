"""What an implementation requires of sizes: `Eq == E`, `D % 8 == 0`, `Lq >= 1`, `D <= 128`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attention_harness.model.errors import HarnessError

_RULE = re.compile(
    r"(?P<axis>[A-Z][a-z]*) *"
    r"(?:% *(?P<step>[1-9]\d{0,6}|[A-Z][a-z]*) *== *0|(?P<sign>==|>=|<=) *(?P<other>\d{1,7}|[A-Z][a-z]*))"
)
_ROUNDS = 12  # of mending: rules that have not come to rest by then contradict each other


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule on the length of an axis; the other side is a number or another axis.

    sign: "==", ">=", "<=" or "%": a multiple of the other side
    """

    text: str
    axis: str
    sign: str
    other: str

    def _bound(self, sizes: Mapping[str, int]) -> int | None:
        """Return the number on the other side; None where the sizes lack an axis of the rule."""
        if self.axis not in sizes:
            return None
        return int(self.other) if self.other.isdigit() else sizes.get(self.other)

    def mend(self, sizes: Mapping[str, int]) -> int | None:
        """Return the nearest length of the axis that the rule allows, multiples rounded up; None: it says nothing."""
        bound = self._bound(sizes)
        if bound is None:
            return None
        length = sizes[self.axis]
        if self.sign == "%":
            return max(1, -(-length // bound)) * bound if bound else None
        return {"==": bound, ">=": max(length, bound), "<=": min(length, bound)}[self.sign]


@functools.cache
def requirement(text: str) -> Requirement:
    """Return a rule from its text; HarnessError if it is none."""
    found = _RULE.fullmatch(text.strip())
    if found is None:
        raise HarnessError(
            f"requires: {text!r} is no rule on sizes; expected such as 'Eq == E', 'D % 8 == 0', 'Lq >= 1', 'D <= 128'"
        )
    if found["step"]:
        return Requirement(text, found["axis"], "%", found["step"])
    return Requirement(text, found["axis"], found["sign"], found["other"])


def unmet(rules: Iterable[str], sizes: Mapping[str, int]) -> str:
    """Return the first rule that sizes break, or ""."""
    for text in rules:
        rule = requirement(text)
        if rule.mend(sizes) not in (None, sizes.get(rule.axis)):
            return text
    return ""


def mended(rules: Iterable[str], sizes: Mapping[str, int]) -> dict[str, int] | None:
    """Return sizes that every rule allows, as near to the given ones as the rules go; None where there are none."""
    listed, found = list(rules), dict(sizes)
    for _ in range(_ROUNDS):
        if not unmet(listed, found):
            return found
        for rule in map(requirement, listed):
            length = rule.mend(found)
            if length is not None:
                found[rule.axis] = length
    return None
