"""Text of somebody else's, fit to be shown: nothing in it steers a terminal, reverses a line or hides."""

from __future__ import annotations

import unicodedata

_SPACES = ("Zs", "Zl", "Zp")  # spaces, which `str.isprintable` does not count as printable


def printable(text: str, controls: str = "\n\t") -> str:
    r"""Return the text with what cannot be seen written out: an escape is `\x1b`, a turn to the left `\u202e`.

    controls: control characters that stay, of which lines are made.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_seen(char) or char in controls else _escape(char) for char in text)


def one_line(text: str) -> str:
    """Return the text as a single line."""
    return printable(" ".join(text.split()), "")


def _is_seen(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) in _SPACES


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
