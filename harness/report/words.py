"""How the report writes numbers and names: pure functions from values to text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attention_harness.model.mutation_results import Power

NOTHING = "–"  # what a table shows where there is nothing to state
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")


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
    """Return a error ratio. What is above 1 never reads as 1, and what is not finite is a word."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if 0 < value < 0.005:
        return "<0.01"
    if value > 1:
        return "1.01" if value < 1.01 else f"{value:.2f}" if value < 100 else f"{value:.1e}"
    return f"{value:.2f}"


def worse(value: float | None) -> float:
    """Return a key that sorts shares: none, then finite, then infinite, then not a number."""
    return -1.0 if value is None else math.inf if math.isnan(value) else min(value, 1e308)


def amount(value: float | None) -> str:
    """Return an error or a error bound with three digits."""
    return NOTHING if value is None else error_ratio(value) if not math.isfinite(value) else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Return a duration in the unit that suits it."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value >= 120:
        return f"{value / 60:.0f} min"
    scale, unit = next((pair for pair in _UNITS if value >= pair[0]), _UNITS[-1])
    return f"{value / scale:.3g} {unit}"


def size(count: float | None) -> str:
    """Return a number of bytes in the unit that suits it."""
    if count is None:
        return NOTHING
    power = 0
    while abs(count) >= 1024 and power < len(_SIZES) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.0f} {_SIZES[power]}" if power == 0 else f"{count:.3g} {_SIZES[power]}"


def quantity(count: float | None) -> str:
    """Return a large number with a decimal prefix, ready for its unit: "1.2 G"."""
    if count is None:
        return NOTHING + " "
    power = max((p for p in range(5) if abs(count) >= 1000.0**p), default=0)
    return f"{count / 1000.0**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}"


def ratio(value: float, low: float | None, high: float | None) -> str:
    """Return "0.553 [0.547, 0.559]": three digits of the ratio, and three decimals where it is near 1."""
    if not (math.isfinite(value) and value > 0):
        return amount(value)
    places = 3 if 0.9 < value < 1.1 else max(0, min(6, 2 - math.floor(math.log10(value))))
    shown = f"{value:.{places}f}"
    return shown if low is None or high is None else f"{shown} [{low:.{places}f}, {high:.{places}f}]"


def percent(value: float | None) -> str:
    """Return a relative difference in percent."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.2g} %"


def power(found: Power) -> str:
    """Return what a suite caught of mutants, and what it made of equivalent variants."""
    right = f"{number(len(found.accused))} of {counted(found.variants, 'equivalent variant')} accused"
    return (
        f"{number(found.caught)} of {counted(found.planted, 'planted mutant')} caught, {right}, over "
        f"{counted(found.checks, 'check')}. Below a mechanism: of the mutants that show there, those that a verdict "
        "there accuses."
    )


def gaps(found: Power) -> dict[str, list[str]]:
    """Return what the suite did wrong, by name: nothing of it may be left out."""
    told = {
        "Missed": list(found.missed),
        "Accused, although correct": list(found.accused),
        "Seen elsewhere alone": [f"{mutant} in {mechanism}" for mechanism, mutant in found.unseen],
    }
    return {what: names for what, names in told.items() if names}


def flattened(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) for nested dicts and lists of plain values, whatever their shape."""
    for key, value in data.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield from flattened(value, name)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
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
