"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
MOST = 1 << 50


def told(count: int) -> str:
    """Return a number of bytes in words: 512 MiB."""
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"


def parsed(text: str) -> int:
    """Return the bytes of a text such as 2GiB, 500MB or 1048576; ValueError says what was expected."""
    found = re.fullmatch(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", text.strip())
    count = int(float(found[1]) * _UNITS[found[2].upper()]) if found and found[2].upper() in _UNITS else -1
    if not 0 <= count <= MOST:
        raise ValueError(f"{text[:40]!r} is no size; expected a number with KiB, MiB, GiB, KB, MB, GB or none")
    return count
