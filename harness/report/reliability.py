"""What became of runs beside implementations that do harm: a row for each fault that was planted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_harness.model.errors import HarnessError
from attention_harness.report import words

HEADER = ("fault", "planted", "reported", "rest of the run", "processes left")


@dataclass(frozen=True, slots=True)
class Survived:
    """A fault. complete: the others were answered as in a run without it; left: processes that outlived the run."""

    fault: str
    planted: str
    reported: tuple[str, ...]
    complete: bool
    left: int

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, but for the name."""
        rest = "complete and right" if self.complete else "disturbed"
        return self.planted, "; ".join(self.reported), rest, words.number(self.left)

    @property
    def holds(self) -> bool:
        """Whether it harmed nobody else."""
        return self.complete and self.left == 0


def survived(rows: Sequence[Mapping[str, Any]]) -> tuple[Survived, ...]:
    """Return the rows of `reliability.json`."""
    try:
        return tuple(
            Survived(
                str(row["fault"]),
                str(row["planted"]),
                tuple(map(str, row["reported"])),
                row["complete"] is True,
                int(row["left"]),
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"reliability.json: not a table of faults: {error!r}") from error


def sentence(found: Iterable[Survived]) -> str:
    """Return the table in a sentence."""
    rows = list(found)
    held = sum(row.holds for row in rows)
    faults = words.counted(len(rows), "planted fault")
    return f"{held} of {faults} left the rest of the run complete and right, and no process behind."
