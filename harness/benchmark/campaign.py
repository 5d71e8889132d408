"""The benchmark: which implementations meet on which workload, the passes in fresh processes, and what they say.

A cell is one case with every implementation that conforms on it, the baseline among them, and an A/A control of the
baseline:
a second `prepare` of the same implementation, so that it differs from the baseline in all that two arms can differ in
- closure, compiled code, buffers, place in memory - except in what they compute. Its ratio is 1; what it measures is
noise.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attention_harness.benchmark import columns, noise
from attention_harness.benchmark import statistics as judging
from attention_harness.benchmark.cell import Cell as Cell
from attention_harness.benchmark.cell import combined
from attention_harness.benchmark.pass_log import Kept
from attention_harness.benchmark.timing import ROUNDS
from attention_harness.benchmark.worker import AA_CONTROL, run_pass
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.execution.limits import memory_per_worker
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.registry import Implementation, unknown
from attention_harness.registry import implementations as every_implementation

PASSES, QUICK_PASSES = 5, 3  # fresh processes
TIME_PER_ARM = 0.1  # seconds for each arm, cell and pass, at least

Gate = Callable[[Implementation, Case, str], str]
Progress = Callable[[str, int, int], None]


def run(
    implementations: Sequence[Implementation],
    workloads: Sequence[Workload],
    *,
    passes: int = PASSES,
    time_per_arm: float = TIME_PER_ARM,
    rounds: int = ROUNDS,
    threads: Sequence[int] = (1,),
    directions: Sequence[str] = ("forward",),
    dtypes: Sequence[str] = (),
    baseline: str = "eager",
    gate: Gate,
    progress: Progress,
    seed: int = 0,
    load: Sequence[Path] = (),
    devices: Sequence[str] = ("cpu",),
    extend: bool = False,
    memory: int = 0,
    until: float = math.inf,
    cell_s: float = math.nan,
    kept: Kept | None = None,
) -> Iterator[Measurement]:
    """Yield a measurement for every implementation in every cell, first of those that are not timed.

    The cells are workloads x dtypes x devices x directions x threads.

    passes        fresh processes, each over the whole matrix; at least 2, since they make the interval
    time_per_arm  seconds for each arm, cell and pass, at least
    rounds        of a pass, at least: what slow calls take
    threads       of one call; each count has passes of its own
    dtypes        that each workload is asked in; its own if none is given
    gate          returns "" if an implementation conforms on a case in a direction, else why not: then it is refused,
                  never timed
    progress      is called with what is being done, how much of it is done, and how much there is
    memory        bytes that the process of a pass may take; 0 for a share of the machine's
    extend        give cells with an inconclusive or unreliable answer as many passes again
    until         `time.monotonic()` by which the extension has to be done; cells that it leaves no time for say so
    cell_s        seconds that a cell of a pass is expected to take: asked where every pass is kept, and none shows it
    kept          where the records of the passes go; those that it already holds are not measured again
    """
    if passes < 2 or min(threads, default=0) < 1 or not time_per_arm >= 0:
        raise HarnessError(
            f"bench: passes {passes} must be at least 2, threads {threads} at least 1 and the time for each arm "
            f"{time_per_arm} s not negative"
        )
    entrants = _with_baseline(implementations, baseline, load)
    level = judging.FIRST_LOOK if extend else judging.LEVEL
    cells = planned(workloads, dtypes, devices, directions, threads, level)
    for done, cell in enumerate(cells, 1):
        begun = kept is not None and any(record["threads"] == cell.threads for record in kept.records)
        waits = "" if begun else noise.withheld(cell.threads, *_load_and_cores())
        for entrant in entrants:
            _admit(cell, entrant, gate, waits)
        progress("checking", done, len(cells))
        yield from (cell.blank(name, *why) for name, why in cell.excluded.items())
    kept = kept or Kept()
    plan = {"time_per_arm": time_per_arm, "rounds": rounds, "load": [str(path.resolve()) for path in load]}
    plan |= {"memory": memory or memory_per_worker(1)}
    try:
        took = _passes(cells, range(passes), plan, baseline, seed, progress, kept)
        open_cells = [cell for cell in cells if extend and _is_open(cell, baseline)]
        open_cells = _affordable(open_cells, passes * (cell_s if math.isnan(took) else took), until)
        for cell in open_cells:
            cell.level = judging.LEVEL
        _passes(open_cells, range(passes, 2 * passes), plan, baseline, seed, progress, kept)
    except (KeyboardInterrupt, HarnessError):  # what was measured is not lost
        yield from columns.filled((row for cell in cells for row in combined(cell, baseline)), kept)
        raise
    yield from columns.filled((row for cell in cells for row in combined(cell, baseline)), kept)


def _affordable(cells: list[Cell], cell_s: float, until: float) -> list[Cell]:
    """Return the first cells for which there is time, if each takes so long; none where that is not known."""
    left = until - time.monotonic()
    fit = int(max(left, 0) / max(cell_s, 1e-9)) if math.isfinite(left) and not math.isnan(cell_s) else 0
    count = len(cells) if math.isinf(left) else min(len(cells), fit)
    for cell in cells[count:]:
        cell.remark = "not extended: no time was left"
    return cells[:count]


def planned(
    workloads: Sequence[Workload],
    dtypes: Sequence[str] = (),
    devices: Sequence[str] = ("cpu",),
    directions: Sequence[str] = ("forward",),
    threads: Sequence[int] = (1,),
    level: float = judging.LEVEL,
) -> list[Cell]:
    """Return the cells of a campaign; a case twice is a mistake."""
    cells = [
        Cell(workload, case, count, level, direction)
        for workload, case in cases_of(workloads, dtypes, devices)
        for direction in directions or workload.directions
        for count in threads
    ]
    if len({(cell.id, cell.threads) for cell in cells}) < len(cells):
        raise HarnessError("bench: two workloads are the same case; give each case once")
    return cells


def _load_and_cores() -> tuple[float | None, int]:
    now = noise.reading()
    return now["load"], now["cores"]


def cases_of(
    workloads: Sequence[Workload], dtypes: Sequence[str] = (), devices: Sequence[str] = ("cpu",)
) -> list[tuple[Workload, Case]]:
    """Return each workload's case in every dtype, the workload's own if none is given, and on every device."""
    own = [(workload, parse(workload.case)) for workload in workloads]
    return [
        (workload, replace(case, dtype=dtype, device=device))
        for workload, case in own
        for dtype in dtypes or workload.dtypes or (case.dtype,)
        for device in devices
    ]


def _with_baseline(
    implementations: Sequence[Implementation], baseline: str, load: Sequence[Path]
) -> list[Implementation]:
    """Return the implementations with the baseline first: it runs in every cell, asked for or not."""
    by_name = {found.name: found for found in implementations}
    if baseline not in by_name:
        known = every_implementation(load)
        if baseline not in known:
            raise unknown("implementation", baseline, known, "the baseline must be one of them")
        by_name[baseline] = known[baseline]
    return [by_name.pop(baseline), *by_name.values()]


def _admit(cell: Cell, entrant: Implementation, gate: Gate, waits: str) -> None:
    """Enter an implementation among the arms of a cell, or among the excluded with the reason.

    waits: why nothing can be timed in this cell on this machine now.
    """
    devices = entrant.capabilities.devices
    device = cell.case.device if cell.case.device in devices else entrant.device
    refused, absent = entrant.refuses(cell.case.on(device)), entrant.unavailable()
    if refused:
        cell.excluded[entrant.name] = ("unsupported", refused)
    elif absent:
        cell.excluded[entrant.name] = ("unavailable", absent)
    elif cell.case.device not in devices:
        why = f"device {cell.case.device} not declared (declares {', '.join(devices)})"
        cell.excluded[entrant.name] = ("unsupported", why)
    elif cell.direction != "forward" and not entrant.capabilities.gradients:
        cell.excluded[entrant.name] = ("unsupported", "gradients not declared")
    elif waits:
        cell.excluded[entrant.name] = ("unavailable", waits)
    elif verdict := gate(entrant, cell.asked, cell.direction):
        cell.excluded[entrant.name] = ("refused", verdict)
    else:
        cell.arms.append(entrant.name)


def _passes(
    cells: Sequence[Cell],
    numbers: range,
    plan: dict[str, Any],
    baseline: str,
    seed: int,
    progress: Progress,
    kept: Kept,
) -> float:
    """Run passes over the cells, each in a new order and a new process, and add what they bring to the cells.

    Return the seconds that a cell of a pass took, of those that were not kept from before; NaN where all were.
    """
    seconds, timed = 0.0, 0
    cells = [cell for cell in cells if cell.arms]
    counts = dict.fromkeys(cell.threads for cell in cells)
    shown = Shown(progress, len(cells) * len(numbers))
    for number in numbers:
        for count in counts:
            here = [cell for cell in cells if cell.threads == count]
            ended = {record["cell"] for record in kept.of(number, count) if record["event"] == "end"}
            shown.begin(f"pass {number + 1} of {numbers.stop}" + (f", {count} threads" if len(counts) > 1 else ""))
            shown.advance(len(ended))
            left = [_planned(cell, baseline) for cell in here if cell.id not in ended]
            if left:
                own = f"{seed}/{number}" if count == 1 else f"{seed}/{number}/{count}"
                about = {"threads": count, "seed": own, "peak": number == 0, "ceilings": _when(number, numbers)}
                began = time.monotonic()
                run_pass({**plan, **about, "cells": left}, functools.partial(shown.keep, kept, number, count))
                seconds, timed = seconds + time.monotonic() - began, timed + len(left)
            _sort(here, kept.of(number, count))
    return seconds / timed if timed else math.nan


def _when(number: int, numbers: range) -> str:
    """Return whether the ceilings are measured before or after a pass, or "" when they are not."""
    return "start" if number == numbers.start else "end" if number == numbers.stop - 1 else ""


def _planned(cell: Cell, baseline: str) -> dict[str, Any]:
    arms = [*cell.arms, *([baseline + AA_CONTROL] if baseline in cell.arms else [])]
    return {"cell": cell.id, "case": cell.case.id, "direction": cell.direction, "arms": arms}


class Shown:
    """Keeps the records of passes and shows how far all of them are."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done, self.what = progress, total, 0, ""

    def begin(self, what: str) -> None:
        """Show that a pass begins, by preparing every arm of its cells."""
        self.what = what
        self.progress(f"{what}, preparing", self.done, self.total)

    def advance(self, count: int) -> None:
        """Show that cells were timed."""
        self.done += count
        if count:
            self.progress(f"{self.what}, timing", self.done, self.total)

    def keep(self, kept: Kept, number: int, threads: int, record: dict[str, Any]) -> None:
        """Keep a record; where it ends a cell, show that."""
        kept.add(number, threads, record)
        self.advance(record["event"] == "end")


def _sort(cells: Sequence[Cell], records: Sequence[dict[str, Any]]) -> None:
    """Hand the records of a pass to their cells. An error of a whole cell is one of every arm without samples."""
    by_cell: dict[str, dict[str, dict[str, Any]]] = {cell.id: {} for cell in cells}
    for record in records:
        if record["event"] in ("samples", "error") and record["cell"] in by_cell:
            by_cell[record["cell"]][record["arm"]] = record
    for cell in cells:
        taken = by_cell[cell.id]
        if "" in taken:
            taken = dict.fromkeys(cell.arms, taken.pop("")) | taken
        cell.taken.append(taken)


def _is_open(cell: Cell, baseline: str) -> bool:
    return any(row.answer in ("inconclusive", "unreliable") for row in combined(cell, baseline))
