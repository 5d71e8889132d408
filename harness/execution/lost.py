"""A process that gave no answer, and what it died of."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from attention_harness.model.verdict import Status


class Lost(Exception):
    """A process gave no answer. status: `crash`, `timeout` or `error`; its text is the reason.

    frames: where it was at a fatal signal, the innermost first: (file, line, function)
    seconds: how long it was waited for
    """

    seconds = 0.0

    def __init__(self, status: Status, reason: str, frames: Sequence[tuple[str, str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.frames = frames


def cause_of_death(exitcode: Any) -> str:
    """Return how a process ended: its signal's name, or its exit status."""
    if not isinstance(exitcode, int) or exitcode > 0:
        return f"its process died: exit status {exitcode}"
    if exitcode == 0:
        return "its process ended with exit status 0"
    try:
        return f"its process died: {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"its process died: signal {-exitcode}"
