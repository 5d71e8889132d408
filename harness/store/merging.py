"""Several runs as one, for one report: a check and a benchmark, say, or the same of several machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from attention_harness.model.run_facts import Environment, RunFacts
from attention_harness.store.reading import Run

_OF_FIRST = ("heatmaps", "sensitivity", "reliability")  # the same in every run that has them
_OF_ALL = (
    "verdicts",
    "measurements",
    "diagnosis",
    "error_maps",
    "outcomes",
    "equivalence",
    "by_rule",
    "node_cases",
    "targets",
    "notes",
)


_RENAMED = (
    "implementation",
    "baseline",
    "workload",
)  # what names a measurement's cell, too: cells of machines stay apart


def merge(runs: Sequence[Run]) -> Run:
    """Return the runs as one.

    What comes from another machine, or from other versions, than the first run carries its machine's label in the names
    of implementations and workloads: nothing is compared across machines.
    """
    first, others = runs[0], dict[str, Environment]()
    named = [run if (label := _label(run, first, others)) is None else _renamed(run, label) for run in runs]
    parts: dict[str, Any] = {name: tuple(item for run in named for item in getattr(run, name)) for name in _OF_ALL}
    for name in _OF_FIRST:
        parts[name] = next(filter(None, (getattr(run, name) for run in named)), getattr(first, name))
    parts["node_cases"] = tuple(dict.fromkeys(parts["node_cases"]))  # of two runs on one machine the same
    repeated = len(parts["verdicts"]) - len({verdict.key for verdict in parts["verdicts"]})
    return Run(first.directory, _facts([run.facts for run in named], repeated), machines=others, **parts)


def _label(run: Run, first: Run, others: dict[str, Environment]) -> str | None:
    """Return the label of a run's machine, None for the first; a new machine is entered."""
    about = run.facts.environment
    if about.identity == first.facts.environment.identity:
        return None
    for label, other in others.items():
        if about.identity == other.identity:
            return label
    label = f"machine{len(others) + 2}"
    others[label] = about
    return label


def _renamed(run: Run, label: str) -> Run:
    parts: dict[str, Any] = {}
    for name in _OF_ALL:
        items = getattr(run, name)
        if items and isinstance(items[0], Struct):
            fields = [field for field in _RENAMED if hasattr(items[0], field)]
            parts[name] = tuple(
                replace(item, **{field: f"{old}@{label}" for field in fields if (old := getattr(item, field))})
                for item in items
            )
    about = {f"{name}@{label}": one for name, one in run.facts.implementations.items()}
    return dataclasses.replace(run, facts=replace(run.facts, implementations=about), **parts)


def _facts(facts: Sequence[RunFacts], repeated: int) -> RunFacts:
    """Return the facts of the whole. repeated: verdicts that several runs have, since a benchmark checks what it times.

    A report counts these once, so that they count once in the plan too.
    """
    return replace(
        facts[0],
        command="; ".join(one.command for one in facts),
        planned=max(0, sum(one.planned or 0 for one in facts) - repeated),
        finished=facts[-1].finished if all(one.finished for one in facts) else None,
        noise=next((one.noise for one in facts if one.noise), None),
        self_check=next((one.self_check for one in facts if one.self_check), ()),
        implementations={name: about for one in facts for name, about in one.implementations.items()},
        mechanisms={name: about for one in facts for name, about in one.mechanisms.items()},
    )
