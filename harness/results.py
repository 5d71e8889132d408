"""Run directories: what a run found, and on which machine. The only place that opens result files.

    run.json             schema number, command, machine, versions, what was planned
    verdicts.jsonl       one verdict a line, appended as each is reached
    measurements.jsonl   one measurement a line, made of passes.jsonl at the end of a benchmark
    passes.jsonl         every record of every pass, appended as it comes (harness.bench.kept)
    outcomes.jsonl       one planted fault a line, and what accuses it
    trials.jsonl         one part of the cases a line, and which correct variants it accuses
    diagnosis.json       by implementation that failed, the planted faults that explain it
    sensitivity.json     by case, the smallest error that it sees
    heatmaps.json        the attention weights that the report draws
    self_check.json      every comparison of a self-check, and the method's error rates that follow
    benchmark.json       pytest-benchmark's own format, after a benchmark

A kill at any moment loses at most the item in flight: lines are appended and flushed, other files are replaced whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from harness.measurements import Measurement
from harness.outcomes import Outcome, Trial
from harness.values import HarnessError, Verdict

SCHEMA = 1
_LINES: dict[str, type[Any]] = {
    "verdicts.jsonl": Verdict,
    "measurements.jsonl": Measurement,
    "outcomes.jsonl": Outcome,
    "trials.jsonl": Trial,
}


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
    sensitivity: Sequence[Mapping[str, Any]] = ()


class Writer:
    """Appends to a run directory."""

    def __init__(self, directory: Path, facts: Mapping[str, Any]) -> None:
        self.directory = directory
        self.facts = dict(facts) | {"schema": SCHEMA}
        write_json(directory / "run.json", self.facts)

    @classmethod
    def start(cls, directory: Path, facts: Mapping[str, Any]) -> Self:
        """Begin a new run in an empty or new directory; an existing run is never written over."""
        if (directory / "run.json").exists():
            raise HarnessError(
                f"{directory} already holds a run; give another --out; an interrupted check goes on with --resume"
            )
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return cls(directory, facts)
        except OSError as error:
            raise HarnessError(f"cannot make the run directory {directory}: {error.strerror}") from error

    @classmethod
    def resume(
        cls, directory: Path, facts: Mapping[str, Any], begins: Callable[[int], str] | None = None
    ) -> tuple[Self, tuple[Verdict, ...], str]:
        """Go on with a run: (writer, verdicts it already has, what had to be repaired). Same plan and machine only.

        begins: for a plan that can be made longer, what identifies its first checks by their number: a run of these is
        gone on with, and becomes a run of the longer plan.
        """
        earlier = Run(directory, _facts(directory))
        before, planned = earlier.facts.get("plan"), earlier.facts.get("planned")
        longer = False
        if begins is not None and isinstance(planned, int) and planned < facts["planned"]:
            longer = before == begins(planned)
        if before != facts["plan"] and not longer:
            raise HarnessError(
                f"{directory} holds another run: {earlier.facts.get('planned')} checks, not these {facts['planned']}; "
                f"resume with its own command: {earlier.facts.get('command')}"
            )
        for name, about in facts["implementations"].items():
            if earlier.facts.get("implementations", {}).get(name, {}).get("sha256") != about["sha256"]:
                raise HarnessError(f"{name} has changed since {directory} was begun; begin a new run")
        if _identity(earlier.facts.get("environment", {})) != _identity(facts["environment"]):
            raise HarnessError(f"{directory} was begun on another machine or with other versions; begin a new run")
        # Not before: another run is left as it is.
        repaired = "; ".join(filter(None, (_drop_torn_line(directory / name) for name in _LINES)))
        changed = {name: facts[name] for name in ("plan", "planned", "command")} | {"finished": None} if longer else {}
        return cls(directory, {**earlier.facts, **changed}), load(directory).verdicts, repaired

    def add(self, *items: Verdict | Measurement | Outcome | Trial) -> None:
        """Append items, each to the file of its kind, in one write."""
        for name, kind in _LINES.items():
            lines = [json.dumps(item.to_json(), allow_nan=False) + "\n" for item in items if isinstance(item, kind)]
            if lines:
                with (self.directory / name).open("a", encoding="utf-8") as file:
                    file.write("".join(lines))

    def update(self, **facts: Any) -> None:
        """Add facts to run.json."""
        self.facts |= facts
        write_json(self.directory / "run.json", self.facts)


def _drop_torn_line(path: Path) -> str:
    """Cut off a last line that a kill left unfinished, and say so."""
    if not path.exists():
        return ""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return ""
    with path.open("r+b") as file:
        file.truncate(whole)
    return f"{path}: dropped {len(content) - whole} bytes of an unfinished last line"


def now() -> str:
    """Return the time as results keep it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, data: Any) -> None:
    """Replace a file as a whole, or leave it as it was."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def write_lines(path: Path, items: Iterable[Verdict | Measurement]) -> None:
    """Replace a file of lines as a whole."""
    part = path.with_name(path.name + ".part")
    part.write_text("".join(json.dumps(i.to_json(), allow_nan=False) + "\n" for i in items), encoding="utf-8")
    os.replace(part, path)


def load(directory: Path) -> Run:
    """Read a run directory; what cannot be read is an error that names the file and the line."""
    facts = _facts(directory)
    heatmaps, diagnosis, seen = (directory / f"{name}.json" for name in ("heatmaps", "diagnosis", "sensitivity"))
    return Run(
        directory,
        facts,
        tuple(_rows(directory / "verdicts.jsonl", Verdict)),
        tuple(_rows(directory / "measurements.jsonl", Measurement)),
        _read_json(heatmaps) if heatmaps.exists() else {},
        _read_json(diagnosis) if diagnosis.exists() else (),
        tuple(_rows(directory / "outcomes.jsonl", Outcome)),
        tuple(_rows(directory / "trials.jsonl", Trial)),
        _read_json(seen) if seen.exists() else (),
    )


def _facts(directory: Path) -> Any:
    """Return run.json, of this schema."""
    facts = _read_json(directory / "run.json")
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if schema != SCHEMA:
        raise HarnessError(
            f"{directory / 'run.json'}: schema {schema!r}, this version reads {SCHEMA}; run the command again: "
            f"{facts.get('command', 'unknown') if isinstance(facts, dict) else 'unknown'}"
        )
    return facts


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HarnessError(f"{path.parent} is no run directory: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def _rows(path: Path, kind: type[Any]) -> Iterator[Any]:
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield kind.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise HarnessError(f"{path}, line {number}: not a {kind.__name__.lower()}: {error!r}") from error


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
    return Run(first.directory, facts, verdicts, measurements, heatmaps, diagnosis, outcomes, trials, seen)


def _identity(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to agree for results to stand side by side."""
    return {name: environment.get(name) for name in ("python", "platform", "processor", "cores", "packages", "cuda")}
