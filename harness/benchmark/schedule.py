"""Which passes a campaign makes over which cells: all of them first, then further ones of what stays open."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attention_harness.benchmark import manager
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.costs import cost
from attention_harness.benchmark.statistics import LEVEL
from attention_harness.benchmark.worker import CellPlan, PassPlan
from attention_harness.execution.limits import memory_per_worker
from attention_harness.model.pass_records import Begun, Ended, Record

if TYPE_CHECKING:
    from attention_harness.benchmark.campaign import Campaign

Progress = Callable[[str, int, int], None]
NO_TIME = "not extended: no time was left"
_CALLS_FLOPS = 1e10  # operations a second that a call is taken to do, roughly: of one core of 2025
_STARTING_S = 4.0  # of a process: torch is imported
_PREPARING_S = 0.25  # for an arm: prepare, first call, warm-up, with compiled code found on disk
_LOOKING_S = 0.05  # for the ceiling of a cell on the CPU: a first look at operations


class Schedule:
    """The passes of a campaign. records: those of its passes so far; keep: is called with each further one"""

    def __init__(
        self, campaign: Campaign, progress: Progress, records: list[Record], keep: Callable[[Record], object]
    ) -> None:
        self.campaign, self.progress, self.records, self.keep = campaign, progress, records, keep

    def run(self, cells: Sequence[Cell]) -> None:
        """Make the passes, and as many again over the cells whose answers stay open and for which there is time."""
        campaign, passes = self.campaign, self.campaign.passes
        cell_s = self._passes(cells, range(passes))
        open_cells = [cell for cell in cells if campaign.extend and cell.is_open(campaign.baseline)]
        open_cells = affordable(open_cells, passes * cell_s, campaign.until)
        for cell in open_cells:
            cell.level = LEVEL
        self._passes(open_cells, range(passes, 2 * passes))

    def _passes(self, cells: Sequence[Cell], numbers: range) -> float:
        """Make passes over the cells, each in a new order and a new process, and hand their results to the cells.

        Return the seconds that a cell of a pass took; where none was missing, those that it is expected to take.
        """
        cells = [cell for cell in cells if cell.arms]
        counts = dict.fromkeys(cell.threads for cell in cells)
        seconds, timed, done, what = 0.0, 0, 0, ""
        places: dict[str, tuple[int, str]] = {}  # of the pass under way: the cell's number and its workload

        def show(doing: str) -> None:
            self.progress(f"{what}, {doing}", done, len(cells) * len(numbers))

        def note(record: Record) -> None:
            nonlocal done
            self.records.append(record)
            self.keep(record)
            if isinstance(record, Ended):
                done += 1
                show("timing")
            elif isinstance(record, Begun) and record.arm and record.cell in places:
                place, workload = places[record.cell]
                arm = record.arm.replace(AA_CONTROL, "'s control")
                show(f"preparing {arm} on {workload} ({place} of {len(places)})")

        for number in numbers:
            for count in counts:
                here = [cell for cell in cells if cell.threads == count]
                ended = {one.cell for one in self._of_pass(number, count) if isinstance(one, Ended)}
                left = tuple(self._planned(cell) for cell in here if cell.id not in ended)
                names = {cell.id: cell.workload.name for cell in here}
                places = {one.cell: (place, names[one.cell]) for place, one in enumerate(left, 1)}
                what = f"pass {number + 1} of {numbers.stop}" + (f", {count} threads" if len(counts) > 1 else "")
                done += len(ended)
                show("preparing")
                if left:
                    began = time.monotonic()
                    manager.run_pass(self._plan(number, count, left), note)
                    seconds, timed = seconds + time.monotonic() - began, timed + len(left)
                for cell in here:
                    cell.add_pass(self._of_pass(number, count))
        return seconds / timed if timed else expected_s(self.campaign, cells) / max(len(cells), 1)

    def _of_pass(self, number: int, threads: int) -> list[Record]:
        return [record for record in self.records if (record.number, record.threads) == (number, threads)]

    def _plan(self, number: int, threads: int, cells: tuple[CellPlan, ...]) -> PassPlan:
        campaign = self.campaign
        return PassPlan(
            number=number,
            threads=threads,
            seed=f"{campaign.seed}/{number}" if threads == 1 else f"{campaign.seed}/{number}/{threads}",
            cells=cells,
            time_per_arm_s=campaign.time_per_arm_s,
            rounds=campaign.rounds,
            load=tuple(path.resolve() for path in campaign.load),
            memory=campaign.memory or memory_per_worker(1),
            ceilings=True,
            peak=number == 0,
            spot_check=number == 0 and campaign.spot_check,
        )

    def _planned(self, cell: Cell) -> CellPlan:
        baseline = self.campaign.baseline
        control = (baseline + AA_CONTROL,) if baseline in cell.arms else ()
        return CellPlan(cell.id, cell.case.id, cell.direction, (*cell.arms, *control))


def expected_s(campaign: Campaign, cells: Sequence[Cell]) -> float:
    """Return the seconds that a pass over the cells is expected to take, roughly."""
    seconds = _STARTING_S * len({cell.threads for cell in cells})
    for cell in cells:
        arms = 1 + sum(not one.refuses(cell.case) and not one.unavailable() for one in campaign.implementations)
        call_s = cost(cell.case, cell.direction).flops / _CALLS_FLOPS
        seconds += arms * (_PREPARING_S + max(campaign.time_per_arm_s, campaign.rounds * call_s))
        if cell.case.device == "cpu":  # its ceiling is one more arm, of short calls
            seconds += _LOOKING_S + campaign.time_per_arm_s
    return seconds


def affordable(cells: list[Cell], cell_s: float, until: float) -> list[Cell]:
    """Return the first cells for which there is time, if each takes so long; the others get a remark."""
    left = until - time.monotonic()
    count = len(cells) if math.isinf(left) else int(max(left, 0) / max(cell_s, 1e-9))
    for cell in cells[count:]:
        cell.remark = NO_TIME
    return cells[:count]
