"""Asks what is to be timed whether it conforms, keeps the answers, and tells what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from attention_harness.benchmark import gate
from attention_harness.commands import console
from attention_harness.model.case import Case
from attention_harness.model.verdict import Verdict
from attention_harness.registry import Implementation
from attention_harness.store import Writer


def ask(
    implementations: Sequence[Implementation],
    asked: Iterable[tuple[Case, str]],
    load: Sequence[Path] = (),
    writer: Writer | None = None,
    memory: int = 0,
) -> gate.Gate:
    """Return the gate for cases in directions, after every implementation was asked.

    memory: bytes that a worker may take; 0 for a share of the machine's
    """
    answers = gate.Gate()
    for _, verdicts in gate.run(gate.items(implementations, asked), answers, load, memory=memory):
        take(verdicts, writer)
    return answers


def take(verdicts: Sequence[Verdict], writer: Writer | None) -> None:
    """Keep what was answered, and tell what is refused."""
    if writer:
        writer.add(*verdicts)
    for verdict in gate.refused(verdicts):
        console.failure(verdict)
