"""The errors that are no fault of the harness: a user's mistake, and what an implementation raised."""

from __future__ import annotations


class HarnessError(Exception):
    """A mistake of the user's: shown as one line, exit status 2."""


class ImplementationRaised(Exception):
    """What an implementation raised, in one line: it comes from where the implementation runs. kind: its type's name.

    Whatever else is raised while something is judged is a fault of the harness.
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


def describe(error: BaseException) -> str:
    """Return an exception's name and the first line of its message."""
    try:
        text = str(error).strip().split("\n")[0]
    except BaseException:  # an exception whose own text raises is still only an error
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}"[:500]
