"""Run directories: what a run found, and on which machine. The only place that opens result files.

    run.json             schema number, command, machine, versions, what was planned
    verdicts.jsonl       one verdict a line, appended as each is reached
    measurements.jsonl   one measurement a line, appended as each is made
    outcomes.jsonl       one planted fault a line, and what accuses it
    trials.jsonl         one part of the cases a line, and which correct variants it accuses
    namings.jsonl        one planted fault a line, and what a diagnosis takes it for
    diagnosis.json       by implementation that failed, the planted faults that explain it
    sensitivity.jsonl    one case a line, and the smallest error that it sees
    heatmaps.json        the attention weights that the report draws
    benchmark.json       pytest-benchmark's own format, after a benchmark
    .lock                held by the process that writes (`harness.lock`)

What is finished survives a kill of the harness at any moment: the lines of an item are handed to the kernel in one
write, other files are replaced whole. A last line that was cut short is left out by a reader and cut off by `resume`.
Files that replace others are forced to the disk first, since without `run.json` there is no run; lines are not, so that
a power cut, and that alone, may cost the last seconds of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from harness import lock
from harness.measurements import Measurement
from harness.outcomes import Naming, Outcome, Sensitivity, Trial, ordered
from harness.values import HarnessError, Verdict

SCHEMA = 1
_LINES: dict[str, type[Any]] = {
    "verdicts.jsonl": Verdict,
    "measurements.jsonl": Measurement,
    "outcomes.jsonl": Outcome,
    "trials.jsonl": Trial,
    "sensitivity.jsonl": Sensitivity,
    "namings.jsonl": Naming,
}
DIAGNOSIS = "diagnosis.json"
_PART = ".part"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Run:
    """The content of a run directory."""

    directory: Path
    facts: Mapping[str, Any]
    verdicts: tuple[Verdict, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    heatmaps: Mapping[str, Any] = field(default_factory=dict)
    diagnosis: Sequence[Mapping[str, Any]] = ()
    outcomes: tuple[Outcome, ...] = ()
    trials: tuple[Trial, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    notes: tuple[str, ...] = ()


class Rows:
    """The items of one file of lines, read one after the other, again each time they are asked for."""

    def __init__(self, path: Path, kind: type[Any]) -> None:
        self.path = path
        self.kind = kind

    def __iter__(self) -> Iterator[Any]:
        for number, line in enumerate(_whole_lines(self.path), 1):
            try:
                yield self.kind.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise HarnessError(
                    f"{self.path}, line {number}: not a {self.kind.__name__.lower()}: {error!r}; "
                    "take the line out, and --resume asks again what it held"
                ) from error

    def __len__(self) -> int:
        """How many lines are whole. What stands in them is not looked at."""
        return sum(1 for _ in _whole_lines(self.path))


class Writer:
    """Appends to a run directory, which is locked for it until it is closed, or its process ends."""

    def __init__(self, directory: Path, held: int, facts: Mapping[str, Any]) -> None:
        self.directory = directory
        self.facts = dict(facts)
        self._release = weakref.finalize(self, os.close, held)

    @classmethod
    def start(cls, directory: Path, facts: Mapping[str, Any]) -> Self:
        """Begin a new run in an empty or new directory; an existing run is never written over."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            writer = cls(directory, lock.take(directory), dict(facts) | {"schema": SCHEMA})
        except OSError as error:
            raise HarnessError(f"cannot make the run directory {directory}: {error.strerror}") from error
        if (directory / "run.json").exists():
            raise HarnessError(
                f"{directory} already holds a run; give another --out; an interrupted check goes on with --resume"
            )
        writer._clean()
        writer.update()
        return writer

    @classmethod
    def add_to(cls, directory: Path) -> Self:
        """Lock a run that is there, to add a file to it."""
        facts = _facts(directory)
        try:
            return cls(directory, lock.take(directory), facts)
        except OSError as error:
            raise HarnessError(f"cannot write into {directory}: {error.strerror}") from error

    @classmethod
    def resume(
        cls, directory: Path, facts: Mapping[str, Any], begins: Callable[[int], str] | None = None
    ) -> tuple[Self, Rows, str]:
        """Go on with a run: (writer, verdicts it already has, what had to be repaired). Same plan and machine only.

        A run that was killed before it had written what it is, is begun.
        begins: for a plan that can be made longer, what identifies its first checks by their number: a run of these is
        gone on with, and becomes a run of the longer plan.
        """
        if (directory / lock.FILE).exists() and not (directory / "run.json").exists():
            return (
                cls.start(directory, facts),
                Rows(directory / "verdicts.jsonl", Verdict),
                "resume: nothing was there yet",
            )
        writer = cls.add_to(directory)
        earlier = writer.facts
        before, planned = earlier.get("plan"), earlier.get("planned")
        longer = False
        if begins is not None and isinstance(planned, int) and planned < facts["planned"]:
            longer = before == begins(planned)
        if before != facts["plan"] and not longer:
            raise HarnessError(
                f"{directory} holds another run: {earlier.get('planned')} checks, not these {facts['planned']}; "
                f"resume with its own command: {earlier.get('command')}"
            )
        for name, about in facts["implementations"].items():
            if earlier.get("implementations", {}).get(name, {}).get("sha256") != about["sha256"]:
                raise HarnessError(f"{name} has changed since {directory} was begun; begin a new run")
        if _identity(earlier.get("environment", {})) != _identity(facts["environment"]):
            raise HarnessError(f"{directory} was begun on another machine or with other versions; begin a new run")
        repaired = writer.repair()  # not before: another run is left as it is
        if longer:
            writer.update(**{name: facts[name] for name in ("plan", "planned", "command")}, finished=None)
        return writer, writer.rows(Verdict), repaired

    def rows(self, kind: type[Any]) -> Rows:
        """Return the items of one kind that the run has so far."""
        return Rows(self.directory / next(name for name, own in _LINES.items() if own is kind), kind)

    def count(self) -> int:
        """Return how many items of all kinds the run has so far."""
        return sum(len(Rows(self.directory / name, kind)) for name, kind in _LINES.items())

    def add(self, *items: Any) -> None:
        """Append items, each to the file of its kind, in one write."""
        for name, kind in _LINES.items():
            lines = [json.dumps(item.to_json(), allow_nan=False) + "\n" for item in items if isinstance(item, kind)]
            if lines:
                _append(self.directory / name, "".join(lines).encode())

    def update(self, **facts: Any) -> None:
        """Add facts to run.json."""
        self.facts |= facts
        write_json(self.directory / "run.json", self.facts)

    def close(self) -> None:
        """Let others write."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def repair(self) -> str:
        """Cut off last lines that were cut short, remove what is left of replacements; return what was dropped."""
        self._clean()
        return "; ".join(filter(None, (_drop_torn_line(self.directory / name) for name in _LINES)))

    def drop(self, kind: type[Any]) -> None:
        """Remove the items of one kind: they are to be measured anew."""
        self.rows(kind).path.unlink(missing_ok=True)

    def _clean(self) -> None:
        """Remove what a kill left of a replacement: nobody else is writing."""
        for path in self.directory.glob("*" + _PART):
            path.unlink(missing_ok=True)


def _append(path: Path, content: bytes) -> None:
    """Append in one write. What cannot be written whole is taken back, so that the file ends with a whole line."""
    try:
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            left = memoryview(content)
            try:
                while left:  # a disk that fills up takes a part first, and says so the next time
                    left = left[file.write(left) :]
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise HarnessError(
            f"cannot write {path}: {error.strerror}; what was finished before is kept: make room, then go on with "
            "--resume"
        ) from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file but for a last one that was cut short; none where there is no file."""
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def _torn(path: Path) -> int:
    """Return how many bytes of an unfinished last line a kill left at the end of a file."""
    try:
        with path.open("rb") as file:
            end = at = file.seek(0, os.SEEK_END)
            while at:
                start = max(0, at - _CHUNK)
                file.seek(start)
                newline = file.read(at - start).rfind(b"\n")
                if newline >= 0:
                    return end - (start + newline + 1)
                at = start
            return end
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def _drop_torn_line(path: Path) -> str:
    """Cut off a last line that a kill left unfinished, and say so."""
    torn = _torn(path)
    if not torn:
        return ""
    try:
        os.truncate(path, path.stat().st_size - torn)
    except OSError as error:
        raise HarnessError(f"cannot repair {path}: {error.strerror}") from error
    return f"{path}: dropped {torn} bytes of an unfinished last line"


def now() -> str:
    """Return the time as results keep it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, data: Any) -> None:
    """Replace a file as a whole, or leave it as it was."""
    replace(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def replace(path: Path, text: str) -> None:
    """Replace a file as a whole, on the disk too, or leave it as it was; raise HarnessError where it cannot be."""
    part = path.with_name(path.name + _PART)
    try:
        with part.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise HarnessError(
            f"cannot write {path}: {error.strerror}; it is left as it was: make room, then again"
        ) from error


def load(directory: Path) -> Run:
    """Read a run directory; what cannot be read is an error that names the file and the line. Nothing is changed."""
    facts = _facts(directory)
    heatmaps, diagnosis = (directory / f"{name}.json" for name in ("heatmaps", "diagnosis"))
    return Run(
        directory,
        facts,
        tuple(Rows(directory / "verdicts.jsonl", Verdict)),
        tuple(Rows(directory / "measurements.jsonl", Measurement)),
        read_json(heatmaps) if heatmaps.exists() else {},
        read_json(diagnosis) if diagnosis.exists() else (),
        tuple(ordered(Rows(directory / "outcomes.jsonl", Outcome))),
        tuple(ordered(Rows(directory / "trials.jsonl", Trial))),
        tuple(Rows(directory / "sensitivity.jsonl", Sensitivity)),
        tuple(_notes(directory)),
    )


def _notes(directory: Path) -> Iterator[str]:
    """Yield what a reader has to know: a last line that is left out, somebody who is still writing."""
    writing = lock.holder(directory)
    if writing:
        yield f"{directory} is being written by {writing}: what it had finished is told."
        return  # the last line may be growing
    for name in _LINES:
        torn = _torn(directory / name)
        if torn:
            yield f"{directory / name}: {torn} bytes of an unfinished last line are left out; --resume asks it again."


def _facts(directory: Path) -> Any:
    """Return run.json, of this schema."""
    facts = read_json(directory / "run.json")
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if schema != SCHEMA:
        raise HarnessError(
            f"{directory / 'run.json'}: schema {schema!r}, this version reads {SCHEMA}; run the command again: "
            f"{facts.get('command', 'unknown') if isinstance(facts, dict) else 'unknown'}"
        )
    return facts


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; what cannot be read is an error that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HarnessError(f"{path.parent} is no run directory: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def merge(runs: Sequence[Run]) -> Run:
    """Return several runs of one machine as one: a check and a benchmark, say."""
    first = runs[0]
    for run in runs[1:]:
        here, there = (_identity(r.facts.get("environment") or {}) for r in (first, run))
        if here != there:
            raise HarnessError(
                f"{first.directory} and {run.directory} come from different machines or versions, which one report "
                "would mix; write a report for each"
            )
    verdicts = tuple(verdict for run in runs for verdict in run.verdicts)
    questions = {(verdict.implementation, verdict.case, verdict.check) for verdict in verdicts}
    repeated = len(verdicts) - len(questions)  # a benchmark asks again what it is to time; the report counts them once
    facts = dict(first.facts) | {
        "command": "; ".join(str(run.facts.get("command")) for run in runs),
        "planned": sum(run.facts["planned"] for run in runs if isinstance(run.facts.get("planned"), int)) - repeated,
        "finished": runs[-1].facts.get("finished") if all(run.facts.get("finished") for run in runs) else None,
        "implementations": {k: v for run in runs for k, v in run.facts.get("implementations", {}).items()},
    }
    measurements = tuple(measurement for run in runs for measurement in run.measurements)
    heatmaps = next((run.heatmaps for run in runs if run.heatmaps), {})
    diagnosis = [cause for run in runs for cause in run.diagnosis]
    outcomes = tuple(outcome for run in runs for outcome in run.outcomes)
    trials = tuple(trial for run in runs for trial in run.trials)
    seen = next((run.sensitivity for run in runs if run.sensitivity), ())
    notes = tuple(note for run in runs for note in run.notes)
    return Run(first.directory, facts, verdicts, measurements, heatmaps, diagnosis, outcomes, trials, seen, notes)


def _identity(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to agree for results to stand side by side."""
    return {name: environment.get(name) for name in ("python", "platform", "processor", "cores", "packages", "cuda")}
