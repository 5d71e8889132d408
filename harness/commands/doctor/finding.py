"""One line of what `doctor` found."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """state: ok; missing, which a default run needs; absent or too old, which it can do without; or a note.

    found    what is there
    advice   the command that adds what is not, or what follows from what is
    """

    subject: str
    name: str
    state: str
    found: str
    advice: str = ""
