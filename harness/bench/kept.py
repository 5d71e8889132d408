"""The records of the passes, one a line as they come, so that a kill loses the item in flight and nothing else.

passes.jsonl   every record of every pass with its number and its threads; measurements are made of them at the end
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.values import HarnessError

NAME = "passes.jsonl"

Record = dict[str, Any]


class Kept:
    """Records by pass. Without a directory they are kept in memory alone."""

    def __init__(self, directory: Path | None = None) -> None:
        self.path = directory / NAME if directory else None
        self.records = _whole(self.path) if self.path and self.path.exists() else []

    def of(self, number: int, threads: int) -> list[Record]:
        """Return what a pass has brought so far."""
        return [r for r in self.records if (r["pass"], r["threads"]) == (number, threads)]

    def add(self, number: int, threads: int, record: Record) -> None:
        """Keep a record."""
        record = {**record, "pass": number, "threads": threads}
        self.records.append(record)
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def events(self, event: str) -> list[Record]:
        """Return the records of one kind, over all passes."""
        return [record for record in self.records if record["event"] == event]


def _whole(path: Path) -> list[Record]:
    """Return the complete lines, and cut off one that a kill left unfinished."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    try:
        return [json.loads(line) for line in content[:whole].decode().splitlines()]
    except ValueError as error:
        raise HarnessError(f"{path} cannot be read: {error}; begin a new run") from error
