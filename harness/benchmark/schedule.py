"""Which passes a campaign makes over which cells: all of them first, then further ones of what stays open."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from attention_harness.benchmark import manager
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.pass_log import PassLog
from attention_harness.benchmark.pass_plan import CellPlan, PassPlan
from attention_harness.benchmark.statistics import LEVEL
from attention_harness.execution.limits import memory_per_worker
from attention_harness.model.pass_records import Ended, Record

if TYPE_CHECKING:
    from attention_harness.benchmark.campaign import Campaign

Progress = Callable[[str, int, int], None]
NO_TIME = "not extended: no time was left"


class Schedule:
    """The passes of a campaign."""

    def __init__(self, campaign: Campaign, progress: Progress, log: PassLog) -> None:
        self.campaign, self.log = campaign, log
        self.shown = _Shown(progress)

    def run(self, cells: Sequence[Cell]) -> None:
        """Make the passes, and as many again over the cells whose answers stay open and for which there is time."""
        campaign, passes = self.campaign, self.campaign.passes
        took = self._passes(cells, range(passes))
        open_cells = [cell for cell in cells if campaign.extend and cell.is_open(campaign.baseline)]
        open_cells = affordable(open_cells, passes * (campaign.cell_s if math.isnan(took) else took), campaign.until)
        for cell in open_cells:
            cell.level = LEVEL
        self._passes(open_cells, range(passes, 2 * passes))

    def _passes(self, cells: Sequence[Cell], numbers: range) -> float:
        """Make passes over the cells, each in a new order and a new process, and hand their results to the cells.

        Return the seconds that a cell of a pass took, of those that the log did not have; NaN where it had all.
        """
        seconds, timed = 0.0, 0
        cells = [cell for cell in cells if cell.arms]
        counts = dict.fromkeys(cell.threads for cell in cells)
        self.shown.start(len(cells) * len(numbers))
        for number in numbers:
            for count in counts:
                here = [cell for cell in cells if cell.threads == count]
                ended = {one.cell for one in self.log.of_pass(number, count) if isinstance(one, Ended)}
                what = f"pass {number + 1} of {numbers.stop}" + (f", {count} threads" if len(counts) > 1 else "")
                self.shown.begin(what)
                self.shown.advance(len(ended))
                left = tuple(self._planned(cell) for cell in here if cell.id not in ended)
                if left:
                    began = time.monotonic()
                    manager.run_pass(self._plan(number, count, numbers, left), self._keep)
                    seconds, timed = seconds + time.monotonic() - began, timed + len(left)
                for cell in here:
                    cell.add_pass(self.log.of_pass(number, count))
        return seconds / timed if timed else math.nan

    def _keep(self, record: Record) -> None:
        self.log.add(record)
        self.shown.advance(isinstance(record, Ended))

    def _plan(self, number: int, threads: int, numbers: range, cells: tuple[CellPlan, ...]) -> PassPlan:
        campaign = self.campaign
        when: Literal["", "start", "end"] = "start" if number == numbers.start else ""
        if number == numbers.stop - 1 and number != numbers.start:
            when = "end"
        return PassPlan(
            number=number,
            threads=threads,
            seed=f"{campaign.seed}/{number}" if threads == 1 else f"{campaign.seed}/{number}/{threads}",
            cells=cells,
            time_per_arm_s=campaign.time_per_arm_s,
            rounds=campaign.rounds,
            load=tuple(path.resolve() for path in campaign.load),
            memory=campaign.memory or memory_per_worker(1),
            ceilings=when,
            peak=number == 0,
        )

    def _planned(self, cell: Cell) -> CellPlan:
        baseline = self.campaign.baseline
        control = (baseline + AA_CONTROL,) if baseline in cell.arms else ()
        return CellPlan(cell.id, cell.case.id, cell.direction, (*cell.arms, *control))


def affordable(cells: list[Cell], cell_s: float, until: float) -> list[Cell]:
    """Return the first cells for which there is time, if each takes so long; none where that is not known."""
    left = until - time.monotonic()
    if math.isinf(left):
        return cells
    count = 0 if math.isnan(cell_s) else int(max(left, 0) / max(cell_s, 1e-9))
    for cell in cells[count:]:
        cell.remark = NO_TIME
    return cells[:count]


class _Shown:
    """Shows how far all passes are together."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.total, self.done, self.what = progress, 0, 0, ""

    def start(self, total: int) -> None:
        self.total, self.done = total, 0

    def begin(self, what: str) -> None:
        """Show that a pass begins, by preparing every arm of its cells."""
        self.what = what
        self.progress(f"{what}, preparing", self.done, self.total)

    def advance(self, count: int) -> None:
        """Show that cells were timed."""
        self.done += count
        if count:
            self.progress(f"{self.what}, timing", self.done, self.total)
