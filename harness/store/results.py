"""Run directories: what a run found, and on which machine. The only place that opens result files.

    run.json             schema number, command, machine, versions, what was planned
    verdicts.jsonl       one verdict a line, appended as each is reached
    measurements.jsonl   one measurement a line, made of passes.jsonl at the end of a benchmark
    passes.jsonl         every record of every pass, appended as it comes (attention_harness.benchmark.pass_log)
    outcomes.jsonl       one mutant a line, and what accuses it
    trials.jsonl         one part of the cases a line, and which equivalent variants it accuses
    namings.jsonl        one mutant a line, and what a diagnosis takes it for
    diagnosis.json       by implementation that failed, the mutants that explain it
    sensitivity.jsonl    one case a line, and the smallest error that it sees
    reliability.json     by planted harm, what was reported and whether the rest of the run was complete
    heatmaps.json        the attention weights that the report draws
    self_check.json      every comparison of a self-check, and the method's error rates that follow
    benchmark.json       pytest-benchmark's own format, after a benchmark
    .lock                held by the process that writes (`attention_harness.store.lock`)

What is finished survives a kill of the harness at any moment: the lines of an item are handed to the kernel in one
write, other files are replaced whole. A last line that was cut short is left out by a reader and cut off by `resume`.
Files that replace others are forced to the disk first, since without `run.json` there is no run; lines are not, so that
a power cut, and that alone, may cost the last seconds of them.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.mutation_results import Naming, Outcome, Sensitivity, Trial, ordered
from attention_harness.model.verdict import Verdict
from attention_harness.store import lock, schema
from attention_harness.store.files import PART, append, no_link, replaced

SCHEMA = 1
_LINES: dict[str, type[Any]] = {
    "verdicts.jsonl": Verdict,
    "measurements.jsonl": Measurement,
    "outcomes.jsonl": Outcome,
    "trials.jsonl": Trial,
    "sensitivity.jsonl": Sensitivity,
    "namings.jsonl": Naming,
}
PASSES = "passes.jsonl"
DIAGNOSIS = "diagnosis.json"
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
    reliability: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()


class Rows:
    """The items of one file of lines, read one after the other, again each time they are asked for."""

    def __init__(self, path: Path, kind: type[Any]) -> None:
        self.path = path
        self.kind = kind

    def __iter__(self) -> Iterator[Any]:
        then = "take the line out, and --resume asks again what it held"
        return _read(self.path, self.kind.__name__.lower(), self.kind.from_json, then)

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
                append(self.directory / name, "".join(lines).encode())

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
        return "; ".join(filter(None, (_drop_torn_line(self.directory / n) for n in (*_LINES, PASSES))))

    def drop(self, kind: type[Any]) -> None:
        """Remove the items of one kind: they are to be measured anew."""
        self.rows(kind).path.unlink(missing_ok=True)

    def _clean(self) -> None:
        """Remove what a kill left of a replacement: nobody else is writing."""
        for path in self.directory.glob("*" + PART):
            path.unlink(missing_ok=True)


def pass_records(path: Path) -> Iterator[Any]:
    """Yield the records of a benchmark's passes; none where there is no file."""
    return _read(path, "pass", lambda record: record, "begin a new run")


def _read(path: Path, name: str, made: Callable[[Any], Any], then: str) -> Iterator[Any]:
    """Yield what is made of each whole line that the schema of a name allows. then: what to do about a line that is
    none.
    """
    for number, line in enumerate(_whole_lines(path), 1):
        try:
            yield made(schema.validated(name, schema.parsed(line)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise HarnessError(f"{path}, line {number}: not a {name}: {error}; {then}") from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file but for a last one that was cut short; none where there is no file."""
    try:
        yield from (line for line in schema.lines(path) if line.endswith(b"\n") or len(line) > schema.LINE_BYTES)
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
        with open(path, "r+b", opener=no_link) as file:
            file.truncate(path.stat().st_size - torn)
    except OSError as error:
        raise HarnessError(f"cannot repair {path}: {error.strerror}") from error
    return f"{path}: dropped {torn} bytes of an unfinished last line"


def now() -> str:
    """Return the time as results keep it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, data: Any) -> None:
    """Replace a file as a whole, or leave it as it was."""
    replaced(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_lines(path: Path, items: Iterable[Verdict | Measurement]) -> None:
    """Replace a file of lines as a whole."""
    replaced(path, "".join(json.dumps(item.to_json(), allow_nan=False) + "\n" for item in items))


def load(directory: Path) -> Run:
    """Read a run directory; what cannot be read is an error that names the file and the line. Nothing is changed."""
    facts = _facts(directory)
    heatmaps, diagnosis, survived = (directory / f"{n}.json" for n in ("heatmaps", "diagnosis", "reliability"))
    return Run(
        directory,
        facts,
        tuple(Rows(directory / "verdicts.jsonl", Verdict)),
        tuple(Rows(directory / "measurements.jsonl", Measurement)),
        read_valid(heatmaps) if heatmaps.exists() else {},
        read_valid(diagnosis) if diagnosis.exists() else (),
        tuple(ordered(Rows(directory / "outcomes.jsonl", Outcome))),
        tuple(ordered(Rows(directory / "trials.jsonl", Trial))),
        tuple(Rows(directory / "sensitivity.jsonl", Sensitivity)),
        read_valid(survived) if survived.exists() else (),
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
    path = directory / "run.json"
    facts = read_json(path)
    found, command = (facts.get(key) if isinstance(facts, dict) else None for key in ("schema", "command"))
    if found != SCHEMA:
        again = str(command or "unknown")[:200]
        raise HarnessError(
            f"{path}: schema {str(found)[:20]}, this version reads {SCHEMA}; run the command again: {again}"
        )
    return _valid(path, facts)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; what cannot be read is an error that names the file."""
    try:
        return schema.document(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HarnessError(f"{path.parent} is no run directory: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def read_valid(path: Path) -> Any:
    """Return what a JSON file of a run directory holds; what its published schema does not allow is an error."""
    return _valid(path, read_json(path))


def _valid(path: Path, data: Any) -> Any:
    """Return the content of a file that its published schema allows."""
    try:
        return schema.validated(path.stem, data)
    except ValueError as error:
        raise HarnessError(f"{path} is not as harness/schemas/{path.name} says: {error}") from error


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
        "noise": next((run.facts["noise"] for run in runs if run.facts.get("noise")), None),
        "self_check": next((run.facts["self_check"] for run in runs if run.facts.get("self_check")), None),
        "implementations": {k: v for run in runs for k, v in run.facts.get("implementations", {}).items()},
    }
    measurements = tuple(measurement for run in runs for measurement in run.measurements)
    heatmaps = next((run.heatmaps for run in runs if run.heatmaps), {})
    diagnosis = [cause for run in runs for cause in run.diagnosis]
    outcomes = tuple(outcome for run in runs for outcome in run.outcomes)
    trials = tuple(trial for run in runs for trial in run.trials)
    seen = next((run.sensitivity for run in runs if run.sensitivity), ())
    survived = next((run.reliability for run in runs if run.reliability), ())
    notes = tuple(note for run in runs for note in run.notes)
    return Run(
        first.directory, facts, verdicts, measurements, heatmaps, diagnosis, outcomes, trials, seen, survived, notes
    )


def _identity(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to agree for results to stand side by side."""
    return {name: environment.get(name) for name in ("python", "platform", "processor", "cores", "packages", "cuda")}
