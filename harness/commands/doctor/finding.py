"""One line of what `doctor` found."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
MISSING = "missing"
"""What a default run needs and does not have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """state: ok; missing; absent or too old, which a default run can do without; unavailable; or a note.

    found    what is there
    advice   the command that adds what is missing, or what follows from what is there
    """

    subject: str
    name: str
    state: str
    found: str
    advice: str = ""
