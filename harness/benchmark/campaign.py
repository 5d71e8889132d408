"""A benchmark as one value: which implementations meet on which workloads, and with which effort; and what it measures.

A cell is one case with every implementation that conforms on it, the baseline among them, and the baseline's A/A
control: a second `prepare` of the same implementation, so that it differs from the baseline in all that two arms can
differ in - closure, compiled code, buffers, place in memory - except in what they compute. Its ratio is 1; what it
measures is noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from attention_harness.benchmark import noise, schedule
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.roofline import with_ceilings
from attention_harness.benchmark.statistics import FIRST_LOOK, LEVEL
from attention_harness.benchmark.timing import ROUNDS
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.execution.machine import cores
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Record
from attention_harness.registry import Declared
from attention_harness.store import Writer

PASSES, QUICK_PASSES = 5, 3  # fresh processes
TIME_PER_ARM_S = 0.1  # for each arm, cell and pass, at least

Conforms = Callable[[Declared, Case, str], str]
"""Returns "" if an implementation conforms on a case in a direction, else why not: then it is never timed."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is measured. The cells are workloads x dtypes x devices x directions x threads.

    implementations  the baseline among them
    dtypes, directions  of each workload; its own where none is given
    threads          of one call; each count has passes of its own
    passes           fresh processes, each over the whole matrix; at least 2, since they make the interval
    time_per_arm_s   of each arm, cell and pass, at least; rounds: of a pass, at least: what slow calls take
    extend           give cells with an inconclusive or unreliable answer as many passes again
    until            `time.monotonic()` by which the extension has to be done; cells that it leaves no time for say so
    load             files of implementations, which the processes of the passes import
    memory           bytes that the process of a pass may take; 0 for a share of the machine's
    spot_check       whether answers are judged after the timing; not of what is timed beside attentions
    """

    implementations: tuple[Declared, ...]
    workloads: tuple[Workload, ...]
    baseline: str = "eager"
    dtypes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    directions: tuple[str, ...] = ("forward",)
    threads: tuple[int, ...] = (1,)
    passes: int = PASSES
    time_per_arm_s: float = TIME_PER_ARM_S
    rounds: int = ROUNDS
    extend: bool = False
    until: float = math.inf
    seed: int = 0
    load: tuple[Path, ...] = ()
    memory: int = 0
    spot_check: bool = True

    def __post_init__(self) -> None:
        if self.passes < 2 or min(self.threads, default=0) < 1 or not self.time_per_arm_s >= 0:
            raise HarnessError(
                f"bench: passes {self.passes} must be at least 2, threads {self.threads} at least 1 and the time for "
                f"each arm {self.time_per_arm_s} s not negative"
            )
        names = [one.name for one in self.implementations]
        if self.baseline not in names:
            raise HarnessError(f"bench: the baseline {self.baseline!r} is none of {', '.join(names) or 'nothing'}")

    def cells(self) -> list[Cell]:
        """Return the cells; a case twice is a mistake."""
        level = FIRST_LOOK if self.extend else LEVEL
        cells = [
            Cell(workload, case, count, level, direction)
            for workload in self.workloads
            for case in self._cases(workload)
            for direction in self.directions or workload.directions
            for count in self.threads
        ]
        if len({(cell.id, cell.threads) for cell in cells}) < len(cells):
            raise HarnessError("bench: two workloads are the same case; give each case once")
        return cells

    def _cases(self, workload: Workload) -> Iterator[Case]:
        case = parse(workload.case)
        for dtype in self.dtypes or workload.dtypes or (case.dtype,):
            for device in self.devices:
                yield replace(case, dtype=dtype, device=device)


def measure(
    campaign: Campaign,
    conforms: Conforms,
    progress: schedule.Progress,
    records: list[Record] | None = None,
    writer: Writer | None = None,
) -> Iterator[Measurement]:
    """Yield a measurement for every implementation in every cell, first of those that are not timed.

    progress  is called with what is being done, how much of it is done, and how much there is
    records   of the passes; gets those that are missing, and writer too: what is there is not measured again
    """
    records = [] if records is None else records
    cells = campaign.cells()
    for done, cell in enumerate(cells, 1):
        begun = any(record.threads == cell.threads for record in records)
        withheld = "" if begun else noise.withheld(cell.threads, noise.load(), cores())
        for implementation in campaign.implementations:
            _admit(cell, implementation, conforms, withheld)
        progress("checking", done, len(cells))
        yield from (cell.not_timed(name, *why) for name, why in cell.excluded.items())
    try:
        schedule.Schedule(campaign, progress, records, writer.add if writer else lambda record: None).run(cells)
    finally:  # also after an interruption: what was measured is not lost
        rows = (row for cell in cells for row in cell.measurements(campaign.baseline))
        yield from with_ceilings(rows, records)


def _admit(cell: Cell, implementation: Declared, conforms: Conforms, withheld: str) -> None:
    """Enter an implementation among the arms of a cell, or among the excluded with the reason.

    withheld: why nothing can be timed in this cell on this machine now
    """
    status, reason = _exclusion(cell, implementation, conforms, withheld)
    if status:
        cell.excluded[implementation.name] = (status, reason)
    else:
        cell.arms.append(implementation.name)


def _exclusion(cell: Cell, implementation: Declared, conforms: Conforms, withheld: str) -> tuple[str, str]:
    declared = implementation.capabilities
    if reason := dict(cell.workload.leaves_out).get(implementation.name):
        return "unsupported", f"left out of this workload: {reason}"
    device = cell.case.device if cell.case.device in declared.devices else implementation.device
    if refusal := implementation.refuses(cell.case.on(device)):
        return "unsupported", refusal
    if absence := implementation.unavailable():
        return "unavailable", absence
    if cell.case.device not in declared.devices:
        return "unsupported", f"device {cell.case.device} not declared (declares {', '.join(declared.devices)})"
    if cell.direction != "forward" and not declared.gradients:
        return "unsupported", "gradients not declared"
    if withheld:
        return "unavailable", withheld
    if failure := conforms(implementation, cell.gated_case, cell.direction):
        return "refused", failure
    return "", ""
