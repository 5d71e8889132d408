"""Checks what is to be timed, keeps the verdicts, and prints what does not conform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attention_harness.benchmark import gate
from attention_harness.benchmark.gate import Gate
from attention_harness.commands import console
from attention_harness.execution.plan import Item
from attention_harness.model.verdict import Verdict
from attention_harness.store import Writer


def check(
    items: Sequence[Item],
    verdicts: Gate,
    load: Sequence[Path] = (),
    writer: Writer | None = None,
    memory: int = 0,
    show: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Gate:
    """Check all items in workers limited to `memory` bytes (0: the default of `Limits`), and return the gate."""
    for done, (item, found) in enumerate(gate.check(items, verdicts, load, memory=memory), 1):
        show(f"checking {item.implementation.name}", done, len(items))
        keep(found, writer)
    return verdicts


def keep(verdicts: Sequence[Verdict], writer: Writer | None) -> None:
    """Keep verdicts in the run directory, and print those that keep an implementation from being timed."""
    if writer:
        writer.add(*verdicts)
    for verdict in gate.refusing(verdicts):
        console.failure(verdict)
