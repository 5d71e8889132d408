"""Writes run directories. What is finished survives a kill of the harness at any moment.

The lines of an item are handed to the kernel in one write, other files are replaced whole. A last line that was cut
short is left out by a reader and cut off by `resume`. Files that replace others are forced to the disk first, since
without `run.json` there is no run; lines are not: a power cut may cost the last
seconds of them.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Verdict
from attention_harness.store import lock, reading
from attention_harness.store.encoding import encode
from attention_harness.store.files import PART, append, no_link, replaced
from attention_harness.store.layout import ITEMS, LINES, RUN


def now() -> str:
    """Return the time as results hold it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Writer:
    """Appends to a run directory, which is locked for it until it is closed, or its process ends."""

    def __init__(self, directory: Path, descriptor: int, facts: RunFacts) -> None:
        self.directory = directory
        self.facts = facts
        self._release = weakref.finalize(self, os.close, descriptor)
        self._digests: dict[str, Any] = {}  # of each file of lines, what it has to be

    @classmethod
    def start(cls, directory: Path, facts: RunFacts) -> Self:
        """Begin a new run in an empty or new directory; an existing run is never written over."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            writer = cls(directory, lock.take(directory), facts)
        except OSError as error:
            raise HarnessError(f"cannot make the run directory {directory}: {error.strerror}") from error
        if (directory / RUN).exists():
            raise HarnessError(
                f"{directory} already holds a run; give another --out; an interrupted run goes on with --resume"
            )
        writer._remove_parts()
        writer._digests = {name: hashlib.sha256() for name in LINES}
        writer.update()
        return writer

    @classmethod
    def add_to(cls, directory: Path) -> Self:
        """Lock a run that is there, to add to it."""
        facts = reading.read_facts(directory)
        try:
            return cls(directory, lock.take(directory), facts)
        except OSError as error:
            raise HarnessError(f"cannot write into {directory}: {error.strerror}") from error

    @classmethod
    def resume(
        cls, directory: Path, facts: RunFacts, plan_of_first: Callable[[int], str] | None = None
    ) -> tuple[Self, list[Verdict], str]:
        """Resume a run of the same plan, files and machine: (writer, verdicts it already has, what was repaired).

        A run that was killed before run.json was written starts afresh.

        plan_of_first  for a plan that can be made longer, the digest of its first checks: a run of these is
                       resumed, and becomes a run of the longer plan
        """
        if (directory / lock.FILE).exists() and not (directory / RUN).exists():
            return cls.start(directory, facts), [], "resume: nothing was there yet"
        writer = cls.add_to(directory)
        longer = writer._need_same_run(facts, plan_of_first)
        repaired = writer.repair()  # not before: another run is left as it is
        if longer:
            writer.update(plan=facts.plan, planned=facts.planned, command=facts.command, finished=None)
        return writer, writer.items(Verdict), repaired

    def _need_same_run(self, facts: RunFacts, plan_of_first: Callable[[int], str] | None) -> bool:
        """Raise HarnessError where the directory holds another run; return whether the plan is a longer one."""
        earlier = self.facts
        longer = (
            plan_of_first is not None
            and earlier.planned is not None
            and earlier.planned < (facts.planned or 0)
            and earlier.plan == plan_of_first(earlier.planned)
        )
        if earlier.plan != facts.plan and not longer:
            raise HarnessError(
                f"{self.directory} holds another run: {earlier.planned} checks, not these {facts.planned}; resume "
                f"with its own command: {earlier.command}"
            )
        for name, about in facts.implementations.items():
            if name not in earlier.implementations or earlier.implementations[name].sha256 != about.sha256:
                raise HarnessError(f"{name} has changed since {self.directory} was begun; begin a new run")
        if earlier.environment.identity != facts.environment.identity:
            raise HarnessError(f"{self.directory} was begun on another machine or with other versions; begin a new run")
        return longer

    def items(self, kind: type[Any]) -> list[Any]:
        """Return the items of one kind that the run has so far."""
        return list(reading.items(self.directory, kind))

    def add(self, *items: Any) -> None:
        """Append items, each to the file of its kind, in one write."""
        for name, kind in LINES.items():
            lines = [encode(item) + b"\n" for item in items if isinstance(item, kind)]
            if lines:
                digest = self._digest(name)
                append(self.directory / name, b"".join(lines))
                digest.update(b"".join(lines))

    def rewrite(self, kind: type[Any], items: Iterable[Any]) -> None:
        """Replace all items of one kind."""
        content = b"".join(encode(item) + b"\n" for item in items)
        replaced(self.directory / ITEMS[kind], content)
        self._digests[ITEMS[kind]] = hashlib.sha256(content)

    def _digest(self, name: str) -> Any:
        """Return the digest of what a file holds, as far as this process knows; at first, as it is."""
        if name not in self._digests:
            self._digests[name] = hashlib.sha256(_content(self.directory / name))
        return self._digests[name]

    def need_own(self) -> None:
        """Raise HarnessError where a file of lines holds others than this process wrote, or found when it began."""
        for name, digest in self._digests.items():
            if hashlib.sha256(_content(self.directory / name)).digest() != digest.digest():
                raise HarnessError(
                    f"{self.directory / name}: something else wrote into it too; do not trust the directory"
                )

    def write(self, name: str, value: Any) -> None:
        """Replace a document as a whole, or leave it as it was."""
        write_document(self.directory / name, value)

    def update(self, **facts: Any) -> None:
        """Change facts in run.json; a run is finished only if nobody else has written into its lines."""
        if facts.get("finished"):
            self.need_own()
        self.facts = replace(self.facts, **facts)
        self.write(RUN, self.facts)

    def close(self) -> None:
        """Let others write."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def repair(self) -> str:
        """Cut off last lines that were cut short, remove what is left of replacements; return what was dropped."""
        self._remove_parts()
        return "; ".join(filter(None, (_drop_torn_line(self.directory / name) for name in LINES)))

    def _remove_parts(self) -> None:
        """Remove what a kill left of a replacement: nobody else is writing."""
        for path in self.directory.glob("*" + PART):
            path.unlink(missing_ok=True)


def write_document(path: Path, value: Any) -> None:
    """Replace a JSON file as a whole, or leave it as it was."""
    replaced(path, msgspec.json.format(encode(value), indent=1) + b"\n")


def _drop_torn_line(path: Path) -> str:
    """Cut off a last line that a kill left unfinished; return what was dropped."""
    torn = reading.torn_bytes(path)
    if not torn:
        return ""
    try:
        with open(path, "r+b", opener=no_link) as file:
            file.truncate(path.stat().st_size - torn)
    except OSError as error:
        raise HarnessError(f"cannot repair {path}: {error.strerror}") from error
    return f"{path}: dropped {torn} bytes of an unfinished last line"


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
