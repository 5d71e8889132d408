"""How a report writes numbers and names: pure functions from values to text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attention_harness.model import units

NOTHING = "–"  # what a table shows where there is nothing to state


def number(count: int) -> str:
    """Return an integer with its thousands apart."""
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return "1 check", "2 checks"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def error_ratio(value: float | None) -> str:
    """Return an error ratio, if there is one."""
    return NOTHING if value is None else units.error_ratio(value)


def worse(value: float | None) -> float:
    """Return a key that sorts the error ratios of failures: the worst is one without a number that could be stated."""
    return math.inf if value is None else value


def amount(value: float | None) -> str:
    """Return an error or an error bound with three digits."""
    return NOTHING if value is None else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Return a duration, if there is one."""
    return NOTHING if value is None or not math.isfinite(value) else units.duration(value)


def size(count: float | None) -> str:
    """Return a number of bytes, if there is one."""
    return NOTHING if count is None else units.size(count)


def quantity(count: float | None) -> str:
    """Return a large number with a decimal prefix, ready for its unit: "1.2 G"."""
    if count is None:
        return NOTHING + " "
    power = max((p for p in range(5) if abs(count) >= 1000.0**p), default=0)
    return f"{count / 1000.0**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}"


def ratio(value: float, low: float | None = None, high: float | None = None) -> str:
    """Return "0.553 [0.547, 0.559]": three digits of the ratio, and three decimals where it is near 1."""
    if not (math.isfinite(value) and value > 0):
        return amount(value)
    places = 3 if 0.9 < value < 1.1 else max(0, min(6, 2 - math.floor(math.log10(value))))
    shown = f"{value:.{places}f}"
    return shown if low is None or high is None else f"{shown} [{low:.{places}f}, {high:.{places}f}]"


def percent(value: float | None) -> str:
    """Return a relative difference in percent."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.2g} %"


def flattened(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) for nested dicts and lists of plain values, whatever their shape."""
    for key, value in data.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield from flattened(value, name)
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            yield from flattened({str(place): item for place, item in enumerate(value)}, name)
        elif str(key).endswith("_bytes") and isinstance(value, int | float):
            yield name.removesuffix(" bytes"), size(value)
        else:
            yield name, plain(value)


def plain(value: Any) -> str:
    """Return a plain value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "not known"
    if isinstance(value, list | tuple | Mapping):
        return ", ".join(plain(item) for item in value) or "none"
    return str(value)
