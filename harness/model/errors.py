"""The error that a user's mistake raises."""

from __future__ import annotations


class HarnessError(Exception):
    """A mistake of the user's: shown as one line, exit status 2."""


def describe(error: BaseException) -> str:
    """Return an exception's name and the first line of its message."""
    try:
        text = str(error).strip().split("\n")[0]
    except BaseException:  # an exception whose own text raises is still only an error
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}"[:500]
