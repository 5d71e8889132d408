"""Reads run directories, which anybody may have written: sizes are bounded before anything is allocated.

Nothing is changed. What cannot be read is an error that names the file and the line. A last line without an end is what
a kill leaves behind, or a line that is growing: it is left out, and a note says so.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.mutation_results import ByRule, EquivalenceResult, Outcome, Sensitivity, ordered
from attention_harness.model.node_cases import NodeCase
from attention_harness.model.pass_records import Record
from attention_harness.model.run_facts import FORMAT, Environment, Harm, Heatmap, RunFacts
from attention_harness.model.target_results import TargetResult
from attention_harness.model.verdict import Verdict
from attention_harness.store import lock
from attention_harness.store.encoding import WrongValue, decode
from attention_harness.store.layout import (
    DIAGNOSIS,
    DOCUMENTS,
    ERROR_MAPS,
    HEATMAPS,
    ITEMS,
    LINES,
    NODE_CASES,
    PASSES,
    RELIABILITY,
    RUN,
    TARGETS,
)

DOCUMENT_BYTES, LINES_BYTES, LINE_BYTES = 64 * 2**20, 2 * 2**30, 16 * 2**20
"""A whole document, a file of lines, and one of its lines have so many bytes at most."""


@dataclass(frozen=True)
class Run:
    """The content of a run directory. notes: what a reader of it has to know, such as that somebody still writes.

    machines: of merged runs, label -> any machine but the first, whose facts are `facts.environment`
    """

    directory: Path
    facts: RunFacts
    verdicts: tuple[Verdict, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    heatmaps: Mapping[str, tuple[Heatmap, ...]] = field(default_factory=dict)
    diagnosis: tuple[Diagnosis, ...] = ()
    error_maps: tuple[ErrorMap, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    equivalence: tuple[EquivalenceResult, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    reliability: tuple[Harm, ...] = ()
    node_cases: tuple[NodeCase, ...] = ()
    targets: tuple[TargetResult, ...] = ()
    by_rule: tuple[ByRule, ...] = ()
    notes: tuple[str, ...] = ()
    machines: Mapping[str, Environment] = field(default_factory=dict)


def load(directory: Path) -> Run:
    """Return the content of a run directory."""
    return Run(
        directory,
        read_facts(directory),
        verdicts=tuple(items(directory, Verdict)),
        measurements=tuple(items(directory, Measurement)),
        heatmaps=read(directory / HEATMAPS, {}),
        diagnosis=read(directory / DIAGNOSIS, ()),
        error_maps=read(directory / ERROR_MAPS, ()),
        outcomes=tuple(ordered(items(directory, Outcome))),
        equivalence=tuple(ordered(items(directory, EquivalenceResult))),
        sensitivity=tuple(items(directory, Sensitivity)),
        reliability=read(directory / RELIABILITY, ()),
        node_cases=read(directory / NODE_CASES, ()),
        targets=read(directory / TARGETS, ()),
        by_rule=tuple(items(directory, ByRule)),
        notes=tuple(_notes(directory)),
    )


def _notes(directory: Path) -> Iterator[str]:
    writing = lock.holder(directory)
    if writing:
        yield f"{directory} is being written by {writing}: this shows what it had finished."
        return  # the last line may be growing
    for name in ITEMS.values():
        torn = torn_bytes(directory / name)
        if torn:
            yield f"{directory / name}: {torn} bytes of an unfinished last line are left out; --resume runs it again."


class _Head(msgspec.Struct):
    """The two fields of any version's run.json that an error needs."""

    schema: msgspec.Raw = msgspec.Raw(b"null")
    command: msgspec.Raw = msgspec.Raw(b'"unknown"')


def read_facts(directory: Path) -> RunFacts:
    """Return what run.json says; one of another version of the format is an error that says what to do."""
    path = directory / RUN
    text = _document(path)
    try:
        head = decode(text, _Head)
    except WrongValue:  # a list, say
        head = _Head()
    except ValueError as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error
    version = bytes(head.schema)[:20].decode(errors="replace")
    if version != str(FORMAT):
        again = bytes(head.command)[:200].decode(errors="replace").strip('"')
        raise HarnessError(
            f"{path} is of format {version}; this version reads format {FORMAT}: run its command again: {again}"
        )
    return _typed(path, text)


def read(path: Path, default: Any) -> Any:
    """Return the value in a document of a run directory; a default where there is no such file."""
    return _typed(path, _document(path)) if path.exists() else default


def _typed(path: Path, text: bytes) -> Any:
    try:
        return decode(text, DOCUMENTS[path.name])
    except ValueError as error:
        raise HarnessError(f"{path} is not what this version writes: {error}; begin a new run") from error


def _document(path: Path) -> bytes:
    try:
        with _opened(path, DOCUMENT_BYTES) as file:
            text = file.read(DOCUMENT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HarnessError(f"{path.parent} is no run directory: it has no {path.name}") from error
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error
    if len(text) > DOCUMENT_BYTES:  # it has grown since it was opened
        raise HarnessError(f"{path} is longer than {DOCUMENT_BYTES} bytes")
    return text


def items(directory: Path, kind: type[Any]) -> Iterator[Any]:
    """Yield the items of one kind, in the order in which they were written; none where there is no file."""
    remedy = "remove the line, and --resume runs again what it held"
    return _values(directory / ITEMS[kind], kind.__name__.lower(), remedy)


def pass_records(directory: Path) -> Iterator[Record]:
    """Yield the records of a benchmark's passes; none where there is no file."""
    return _values(directory / PASSES, "record of a pass", "begin a new run")


def _values(path: Path, what: str, remedy: str) -> Iterator[Any]:
    kind = LINES[path.name]
    for number, line in enumerate(_whole_lines(path), 1):
        try:
            if len(line) > LINE_BYTES:
                raise ValueError(f"it is longer than {LINE_BYTES} bytes")
            value = decode(line, kind)
        except ValueError as error:
            raise HarnessError(f"{path}, line {number}: not a {what}: {error}; {remedy}") from error
        yield value


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file but for a last one that was cut short; of one that is too long, as much as shows it."""
    try:
        with _opened(path, LINES_BYTES) as file:
            while line := file.readline(LINE_BYTES + 1):
                if not line.endswith(b"\n") and len(line) <= LINE_BYTES:
                    return
                yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def torn_bytes(path: Path) -> int:
    """Return how many bytes of an unfinished last line a kill left at the end of a file."""
    try:
        with _opened(path, LINES_BYTES) as file:
            if not os.fstat(file.fileno()).st_size:
                return 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return len(content) - 1 - content.rfind(b"\n")
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def _opened(path: Path, most: int) -> BinaryIO:
    """Open a file of at most so many bytes; never a pipe, which would be waited for, nor a device, which has no end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode) and about.st_size <= most:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    regular = stat.S_ISREG(about.st_mode)
    raise HarnessError(
        f"{path} " + (f"has {about.st_size} bytes; at most {most} are read" if regular else "is no file")
    )
