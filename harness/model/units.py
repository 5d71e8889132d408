"""Numbers as people write them: bytes, seconds and error ratios to text, and a size from text."""

from __future__ import annotations

import math
import re

MOST = 1 << 50  # bytes that a size may name

_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")
_DURATIONS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_FACTORS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_FACTORS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it: 1.5 GiB."""
    power = 0
    while abs(count) >= 1024 and power < len(_SIZES) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.4g} {_SIZES[power]}" if power == 0 or abs(count) >= 1000 else f"{count:.3g} {_SIZES[power]}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: 3.2 ms, 2.5 min."""
    if seconds >= 120:
        return f"{seconds / 60:.{0 if seconds >= 600 else 1}f} min"
    scale, unit = next((pair for pair in _DURATIONS if seconds >= pair[0]), _DURATIONS[-1])
    return f"{seconds / scale:.3g} {unit}"


def error_ratio(value: float) -> str:
    """Return an error ratio. What is above 1 never reads as 1, and what is not finite is a word."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if 0 < value < 0.005:
        return "<0.01"
    if value > 1:
        return "1.01" if value < 1.01 else f"{value:.2f}" if value < 100 else f"{value:.1e}"
    return f"{value:.2f}"


def parsed(text: str) -> int:
    """Return the bytes of a text such as 2GiB, 500MB or 1048576; ValueError says what was expected."""
    found = re.fullmatch(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", text.strip())
    count = int(float(found[1]) * _FACTORS[found[2].upper()]) if found and found[2].upper() in _FACTORS else -1
    if not 0 <= count <= MOST:
        raise ValueError(f"{text[:40]!r} is no size; expected a number with KiB, MiB, GiB, KB, MB, GB or none")
    return count
