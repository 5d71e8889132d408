"""A run as it may be shown: bounded in what would multiply, and without characters that steer or hide.

Markup is escaped where it is written, by the page and by the Markdown; this is what escaping leaves as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from typing import Any

from msgspec import structs

from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.printable import printable
from attention_harness.model.stored import Stored
from attention_harness.model.verdict import Verdict
from attention_harness.store import Run

MOST = {"implementations": 200, "mechanisms": 200, "checks": 1000, "classes of mutants": 200, "operators": 200}
"""Names that a table has a row or a column for: a table of both has as many cells as their product."""


def shown(run: Run) -> Run:
    """Return the run with every text printable; HarnessError where its tables would have no end."""
    _check_tables(run)
    printed = {one.name: _printable(getattr(run, one.name)) for one in fields(run) if one.name != "directory"}
    return replace(run, **printed)


def _check_tables(run: Run) -> None:
    rows: list[Verdict | Measurement] = [*run.verdicts, *run.measurements]
    declared = run.facts.implementations
    found: dict[str, set[str]] = {
        "implementations": {row.implementation for row in (*rows, *run.node_cases)} | set(declared),
        "mechanisms": {row.mechanism for row in rows} | set(run.heatmaps) | set(run.facts.mechanisms),
        "checks": {verdict.check for verdict in run.verdicts},
        "classes of mutants": {outcome.kind for outcome in run.outcomes},
        "operators": {one.operator for one in run.node_cases},
    }
    found["mechanisms"] |= {name for outcome in run.outcomes for name in (*outcome.witnesses, *outcome.unseen)}
    for kind, names in found.items():
        if len(names) > MOST[kind]:
            raise HarnessError(f"{run.directory} names {len(names)} {kind}; a report has room for {MOST[kind]}")


def _plain(value: Any) -> bool:
    """Say that a value is printable by a look at it; of what holds others it is not known."""
    return value.isprintable() if isinstance(value, str) else value is None or isinstance(value, int | float)


def _printable(value: Any) -> Any:
    """Return a value with every text in it printable, the value itself where all of it is."""
    if isinstance(value, Enum) or value is None:
        return value
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, Stored):
        if all(map(_plain, structs.astuple(value))):  # of a hundred thousand verdicts nearly all
            return value
        values = {name: getattr(value, name) for name in value.__struct_fields__}
        changed = {name: new for name, old in values.items() if (new := _printable(old)) is not old}
        return structs.replace(value, **changed) if changed else value
    if isinstance(value, Mapping):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_printable(item) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return tuple(items) if isinstance(value, tuple) else items
    return value
