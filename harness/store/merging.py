"""Several runs of one machine as one: a check and a benchmark, say, for one report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.store.reading import Run

_OF_FIRST = ("heatmaps", "sensitivity", "reliability", "node_cases")  # the same in every run that has them
_OF_ALL = ("verdicts", "measurements", "diagnosis", "outcomes", "equivalence", "by_rule", "targets", "notes")


def merge(runs: Sequence[Run]) -> Run:
    """Return the runs as one. Runs of different machines or versions are refused: a report would mix them."""
    first = runs[0]
    for run in runs[1:]:
        if run.facts.environment.identity != first.facts.environment.identity:
            raise HarnessError(
                f"{first.directory} and {run.directory} come from different machines or versions, which one report "
                "would mix; write a report for each"
            )
    parts: dict[str, Any] = {name: tuple(item for run in runs for item in getattr(run, name)) for name in _OF_ALL}
    for name in _OF_FIRST:
        parts[name] = next(filter(None, (getattr(run, name) for run in runs)), getattr(first, name))
    repeated = len(parts["verdicts"]) - len({verdict.key for verdict in parts["verdicts"]})
    return Run(first.directory, _facts([run.facts for run in runs], repeated), **parts)


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
