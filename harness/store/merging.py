"""Several runs of one machine as one: a check and a benchmark, say, for one report."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.store.reading import Run


def merge(runs: Sequence[Run]) -> Run:
    """Return the runs as one. Runs of different machines or versions are refused: a report would mix them."""
    first = runs[0]
    for run in runs[1:]:
        if run.facts.environment.identity != first.facts.environment.identity:
            raise HarnessError(
                f"{first.directory} and {run.directory} come from different machines or versions, which one report "
                "would mix; write a report for each"
            )

    def every(part: Callable[[Run], Iterable[Any]]) -> tuple[Any, ...]:
        return tuple(itertools.chain.from_iterable(map(part, runs)))

    def first_of(part: Callable[[Run], Any], default: Any) -> Any:
        return next(filter(None, map(part, runs)), default)

    verdicts = every(lambda run: run.verdicts)
    return Run(
        first.directory,
        _facts([run.facts for run in runs], repeated=len(verdicts) - len({verdict.key for verdict in verdicts})),
        verdicts=verdicts,
        measurements=every(lambda run: run.measurements),
        heatmaps=first_of(lambda run: run.heatmaps, {}),
        diagnosis=every(lambda run: run.diagnosis),
        outcomes=every(lambda run: run.outcomes),
        equivalence=every(lambda run: run.equivalence),
        sensitivity=first_of(lambda run: run.sensitivity, ()),
        reliability=first_of(lambda run: run.reliability, ()),
        notes=every(lambda run: run.notes),
    )


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
