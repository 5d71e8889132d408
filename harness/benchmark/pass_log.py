"""The records of a campaign's passes, one a line as they come, so that a kill loses the item in flight alone."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from attention_harness.model.pass_records import Record
from attention_harness.store.encoding import encode
from attention_harness.store.files import append
from attention_harness.store.layout import PASSES
from attention_harness.store.reading import pass_records

_Kind = TypeVar("_Kind")


class PassLog:
    """Records by pass: in memory, and in a run directory where there is one, which a `store.Writer` has locked.

    resume   begin with what the directory has; a campaign beside others in one directory begins with nothing
    """

    def __init__(self, directory: Path | None = None, *, resume: bool = True) -> None:
        self.path = directory / PASSES if directory else None
        self.records: list[Record] = list(pass_records(directory)) if directory and resume else []

    def add(self, record: Record) -> None:
        """Append a record."""
        self.records.append(record)
        if self.path:
            append(self.path, encode(record) + b"\n")

    def of_pass(self, number: int, threads: int) -> list[Record]:
        """Return the records of a pass so far."""
        return [record for record in self.records if (record.number, record.threads) == (number, threads)]

    def of_kind(self, kind: type[_Kind]) -> list[_Kind]:
        """Return the records of one kind, of all passes."""
        return [record for record in self.records if isinstance(record, kind)]
