"""A planted fault: a small change of the shipped eager implementation's source, as data."""

from __future__ import annotations

import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.values import HarnessError


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: its class. patches: (what stands in the source, what is put there). cites: where the like has shipped."""

    name: str
    kind: str
    patches: tuple[tuple[str, str], ...]
    cites: str = ""


def planted(fault: Fault) -> registry.Implementation:
    """Return the eager implementation with the fault in it; its name is `fault:NAME`."""
    eager = registry.select(["eager"])[0]
    source = eager.path.read_text(encoding="utf-8")
    for stands, put in fault.patches:
        if stands not in source:
            raise HarnessError(f"fault {fault.name!r}: {eager.path} no longer has {stands!r}; plant it where that went")
        source = source.replace(stands, put)
    module = types.ModuleType("eager_with_fault")
    exec(compile(source, f"<eager with {fault.name}>", "exec"), module.__dict__)
    return registry.Implementation(f"fault:{fault.name}", module, Path(eager.path))


def faults(kind: str, rows: Iterable[tuple[str, ...]]) -> tuple[Fault, ...]:
    """Return faults of one patch each from rows (name, what stands, what is put[, cites])."""
    return tuple(Fault(name, kind, ((stands, put),), *cites) for name, stands, put, *cites in rows)
