"""The first screen: a line for each implementation, what is wrong, what was not run, and what to ask next. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from attention_harness.model.run_facts import Environment, RunFacts
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.report import words
from attention_harness.report.content import plain

MOST = 8  # causes that the first screen names


@dataclass(frozen=True, slots=True)
class Line:
    """An implementation: its word and tone, and a sentence that carries the numbers."""

    implementation: str
    word: str
    tone: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Unrun:
    """Why checks of an implementation were not run. others: further reasons, which stand under the matrix."""

    implementation: str
    status: str
    reason: str
    checks: int
    others: int


def line(implementation: str, word: str, tone: str, found: Sequence[Verdict], worst: str, unavailable: str) -> Line:
    """Return the line of an implementation."""
    counts = Counter(v.status for v in found)
    vacuous = sum(v.uninformative for v in found)
    checked = len(found) - vacuous - sum(counts[status] for status in NOT_CHECKED)
    if not checked:
        return Line(
            implementation, word, tone, plain.line(unavailable) if unavailable else "nothing was asked of it here"
        )
    wrong = sum(counts[status] for status in NONCONFORMING)
    parts = [words.counted(checked, "check")]
    if wrong:
        parts.append(f"{words.number(wrong)} wrong")
    if known := counts[Status.KNOWN_FAILURE]:
        parts.append(words.counted(known, "known failure"))
    if vacuous:
        parts.append(f"{words.number(vacuous)} uninformative")
    parts.append(f"worst error ratio {worst}")
    return Line(implementation, word, tone, ", ".join(parts))


def unrun(verdicts: Iterable[Verdict]) -> tuple[Unrun, ...]:
    """Return for each implementation the reason that most of its checks were not run for, by status."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for v in verdicts:
        if v.status in NOT_CHECKED:
            found.setdefault((v.implementation, v.status.replace("_", " ")), Counter())[v.reason] += 1
    return tuple(
        Unrun(*key, plain.line(reasons.most_common(1)[0][0]), reasons.total(), len(reasons) - 1)
        for key, reasons in found.items()
    )


def queries(verdicts: Sequence[Verdict]) -> tuple[tuple[str, str], ...]:
    """Return queries that are worth a click here, each with its name."""
    statuses = {v.status for v in verdicts}
    names = [name for name in Status if name in statuses]
    found = [("status:wrong", "wrong")] if statuses & set(NONCONFORMING) else []
    found += [(f"status:{name}", name.replace("_", " ")) for name in names if name not in NONCONFORMING]
    if any(v.uninformative for v in verdicts):
        found.append(("informative:no", "uninformative"))
    found.append(("ratio>0.9", "near the bound"))
    wrong = dict.fromkeys(v.implementation for v in verdicts if v.status in NONCONFORMING)
    return (*found, *((f"only:{name}", f"only {name}") for name in wrong))


def machines(facts: RunFacts, others: Mapping[str, Environment]) -> tuple[str, ...]:
    """Return a line for each machine: when, on what, and of which commit."""
    first = _machine(facts.environment)
    when = _when(facts.started)
    return (
        ", ".join(filter(None, (when, first))),
        *(f"{label}: {_machine(environment)}" for label, environment in others.items()),
    )


def _when(started: str) -> str:
    try:
        return f"{datetime.fromisoformat(started):%Y-%m-%d %H:%M}"
    except ValueError:
        return ""


def _machine(about: Environment) -> str:
    parts = [
        about.processor.model if about.processor else "",
        words.counted(about.cores, "core") if about.cores else "",
    ]
    parts += [device.name for device in about.cuda]
    parts += [f"{name} {about.packages[name]}" for name in ("torch", "onnxruntime") if name in about.packages]
    if about.git:
        parts.append(f"commit {about.git.commit[:12]}{', with changes' if about.git.dirty else ''}")
    return ", ".join(filter(None, parts)) or "machine not recorded"
