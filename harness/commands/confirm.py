"""Measures again what looks slower or larger in a comparison, on this machine and with HEAD's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attention_harness.benchmark import campaign, gate
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.commands import console, gating
from attention_harness.commands.run_setup import implementation_facts
from attention_harness.execution import declarations
from attention_harness.execution.machine import environment
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.report.compare.changes import Changes, CostChange, incomparable, settled
from attention_harness.store import Run

Key = tuple[str, str, str, str, int]
"""An implementation and its cell, as in `Measurement.key`."""


def confirmed(changes: Changes, base: Run, head: Run, paths: Sequence[Path]) -> Changes:
    """Return the changes after every suspect was measured again, five new passes each.

    Raises HarnessError where this is not the machine of the runs.
    """
    if not changes.suspects:
        return changes
    if why := incomparable(head.facts.environment, environment()):
        raise HarnessError(f"--confirm measures here, and HEAD was measured elsewhere: {'; '.join(why)}")
    before, rows = ({row.key: row for row in run.measurements} for run in (base, head))
    others = _not_heads(head, paths)
    changes = replace(
        changes, costs=tuple(_of_heads_file(one, rows[one.key].baseline, others) for one in changes.costs)
    )
    again = _again(changes.suspects, rows, paths) if changes.suspects else {}
    costs = (settled(one, before[one.key], again[one.key]) if one.key in again else one for one in changes.costs)
    return replace(changes, costs=tuple(costs))


def _not_heads(head: Run, paths: Sequence[Path]) -> set[str]:
    """Return the implementations of which the file here is not the one that HEAD measured."""
    then = {name: facts.sha256 for name, facts in head.facts.implementations.items()}
    known = declarations.implementations(paths)
    return {name for name, one in known.items() if implementation_facts(one).sha256 != then.get(name)}


def _of_heads_file(one: CostChange, baseline: str, others: set[str]) -> CostChange:
    """Return a change; a suspect cannot be confirmed where its file, or its baseline's, is another one here."""
    measured = {one.implementation: None} | ({baseline: None} if one.quantity == "time" else {})
    changed = [name for name in measured if name in others]
    if one.state != "suspect" or not changed:
        return one
    return replace(one, state="unconfirmed", reason=f"the file of {' and of '.join(changed)} here is not HEAD's")


def _again(
    suspects: Sequence[CostChange], head: Mapping[Key, Measurement], paths: Sequence[Path]
) -> dict[Key, Measurement]:
    """Return new measurements of the suspects and their baselines, by key."""
    groups: dict[tuple[str, str, str, int, str, str], list[str]] = {}
    for one in suspects:
        row = head[one.key]
        names = groups.setdefault((*row.cell, row.baseline or one.implementation, row.gated_on), [])
        names += [name for name in (row.baseline, one.implementation) if name and name not in names]
    console.line(
        f"compare: measuring {len(suspects)} suspects again in {len(groups)} cells, {campaign.PASSES} passes each"
    )
    found: dict[Key, Measurement] = {}
    for (workload, case_id, direction, threads, baseline, gated_on), names in groups.items():
        cell = campaign.Campaign(
            implementations=tuple(declarations.select(names, paths)),
            workloads=(Workload(workload, "measured again", case_id, gated_on=gated_on),),
            baseline=baseline,
            devices=(parse(case_id).device,),
            directions=(direction,),
            threads=(threads,),
            seed=1,
            load=tuple(paths),
        )
        gated = [(one.gated_case, direction) for one in cell.cells()]
        verdicts = gating.check(gate.items(cell.implementations, gated), gate.Gate(), paths)
        with console.progress("compare") as show:
            found |= {row.key: row for row in campaign.measure(cell, verdicts, show)}
    return found
