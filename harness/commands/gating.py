"""Checks what is to be timed, keeps the verdicts, and prints what does not conform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attention_harness.benchmark import gate
from attention_harness.benchmark.gate import Gate
from attention_harness.commands import console
from attention_harness.execution.plan import Item
from attention_harness.model.verdict import NOT_CHECKED, Status
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
        if writer:
            writer.add(*found)
        for verdict in found:
            if verdict.status not in (Status.PASS, *NOT_CHECKED):
                console.failure(verdict)
    return verdicts
