"""The records of the passes, one a line as they come, so that a kill loses the item in flight and nothing else.

passes.jsonl   every record of every pass with its number and its threads; measurements are made of them at the end
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from attention_harness.store.files import append
from attention_harness.store.layout import PASSES
from attention_harness.store.reading import pass_records

Record = dict[str, Any]


class Kept:
    """Records by pass. Without a directory they are kept in memory alone; one that is given has a `Writer`.

    go_on   take what the directory holds already: of one campaign. Of several, each begins with none
    """

    def __init__(self, directory: Path | None = None, *, go_on: bool = True) -> None:
        self.path = directory / PASSES if directory else None
        self.records: list[Record] = (
            list(map(msgspec.to_builtins, pass_records(directory))) if directory and go_on else []
        )

    def of(self, number: int, threads: int) -> list[Record]:
        """Return what a pass has brought so far."""
        return [r for r in self.records if (r["pass"], r["threads"]) == (number, threads)]

    def add(self, number: int, threads: int, record: Record) -> None:
        """Keep a record."""
        record = {**record, "pass": number, "threads": threads}
        self.records.append(record)
        if self.path:
            append(self.path, (json.dumps(record) + "\n").encode())

    def events(self, event: str) -> list[Record]:
        """Return the records of one kind, over all passes."""
        return [record for record in self.records if record["event"] == event]
