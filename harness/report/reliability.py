"""What became of runs beside implementations that do harm: a row for each harm that was planted."""

from __future__ import annotations

from collections.abc import Iterable

from attention_harness.model.run_facts import Harm
from attention_harness.report import words

HEADER = ("harm", "planted", "reported", "rest of the run", "processes left")


def cells(row: Harm) -> tuple[str, ...]:
    """Return a row as text, but for its name."""
    rest = "complete and right" if row.complete else "disturbed"
    return row.planted, "; ".join(row.reported), rest, words.number(row.processes_left)


def sentence(found: Iterable[Harm]) -> str:
    """Return the table in a sentence."""
    rows = list(found)
    harmless = sum(row.complete and row.processes_left == 0 for row in rows)
    harms = words.counted(len(rows), "planted harm")
    return f"{harmless} of {harms} left the rest of the run complete and right, and no process behind."
