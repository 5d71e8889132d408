"""Which passes are made: of a campaign that was killed those that are missing, and further ones of what stays open."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_harness import registry
from attention_harness.benchmark import manager, schedule
from attention_harness.benchmark.campaign import Campaign, measure
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.worker import CellPlan, PassPlan
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Begun, Ended, Record
from attention_harness.model.run_facts import RunFacts
from attention_harness.store import Writer
from attention_harness.store.layout import PASSES, RUN
from attention_harness.store.reading import pass_records
from tests.benchmark.made import SMALL, WORKLOADS, sampled

CASES = [f"dot_product-B1H{heads}Hk{heads}Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous" for heads in (1, 2)]
TWO = tuple(Workload(f"w{place}", "made up", case) for place, case in enumerate(CASES))


class Machine:
    """Stands in for the processes: an arm takes as long as it is told to, and the process dies where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int, CellPlan, str], float]) -> None:
        self.seconds, self.dies_at = seconds, (-1, -1)
        self.passes: list[tuple[int, list[str]]] = []
        monkeypatch.setattr(manager, "run_pass", self.run_pass)

    def run_pass(self, plan: PassPlan, notice: Callable[[Record], None]) -> None:
        """Write what a pass would."""
        self.passes.append((plan.number, [cell.cell for cell in plan.cells]))
        for place, cell in enumerate(plan.cells):
            for arm in cell.arms:
                notice(sampled(cell.cell, arm, self.seconds(plan.number, cell, arm), number=plan.number))
                if self.dies_at == (plan.number, place):
                    raise KeyboardInterrupt
            notice(Ended(number=plan.number, threads=1, cell=cell.cell))


def half(number: int, cell: CellPlan, arm: str) -> float:
    """Return a time that grows from pass to pass, of torch_sdpa half of the others'."""
    return (number + 1) * (0.5 if arm == "torch_sdpa" else 1.0)


def uneven(number: int, cell: CellPlan, arm: str) -> float:
    """Return times whose ratio differs from pass to pass, so that every cell is open."""
    return (number + 1) * half(number, cell, arm) if arm == "torch_sdpa" else half(number, cell, arm)


def rows_of(directory: Path, workloads: tuple[Workload, ...] = TWO, **further: Any) -> list[Measurement]:
    """Measure, or go on with measuring: three passes of two implementations."""
    known = registry.implementations()
    everyone = (known["eager"], known["torch_sdpa"])
    facts: dict[str, Any] = {"passes": 3} | further
    campaign = Campaign(implementations=everyone, workloads=workloads, **facts)
    writer = Writer.add_to(directory) if (directory / RUN).exists() else Writer.start(directory, RunFacts())
    with writer:
        return list(measure(campaign, lambda *_: "", lambda *_: None, list(pass_records(directory)), writer))


@pytest.mark.parametrize("dies_at", [(0, 0), (1, 0), (1, 1), (2, 1)])
def test_what_is_there_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dies_at: tuple[int, int]
) -> None:
    """After a kill in any cell of any pass, the measurements are those of a run that nobody disturbed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    machine = Machine(monkeypatch, half)
    expected = rows_of(whole)
    machine.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        rows_of(killed)
    machine.dies_at, machine.passes = (-1, -1), []

    assert expected == rows_of(killed)
    left = [(n, [c for place, c in enumerate(CASES) if (n, place) >= dies_at]) for n in range(dies_at[0], 3)]
    assert [(number, found) for number, found in left if found] == machine.passes


def test_what_is_being_prepared_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each arm on its workload, before it is prepared; a process that goes on after a lost one counts no cell anew."""
    shown: list[tuple[str, int, int]] = []

    def run_pass(plan: PassPlan, notice: Callable[[Record], None]) -> None:
        def begin(cell: CellPlan, arm: str) -> None:
            notice(Begun(number=plan.number, threads=1, cell=cell.cell, arm=arm))

        first, second = plan.cells
        for cell in (first, second, second):  # the process is lost at the second, and another one goes on
            for arm in cell.arms:
                begin(cell, arm)
        for cell in plan.cells:
            begin(cell, "")
            for arm in cell.arms:
                notice(sampled(cell.cell, arm, 1.0, number=plan.number))
            notice(Ended(number=plan.number, threads=1, cell=cell.cell))

    monkeypatch.setattr(manager, "run_pass", run_pass)
    known = registry.implementations()
    campaign = Campaign(implementations=(known["eager"], known["torch_sdpa"]), workloads=TWO, passes=2)
    list(measure(campaign, lambda *_: "", lambda *step: shown.append(step)))

    def preparing(place: int) -> list[str]:
        return [f"preparing {arm} on w{place - 1} ({place} of 2)" for arm in ("eager", "torch_sdpa", "eager's control")]

    def of_pass(number: int) -> list[tuple[str, int, int]]:
        steps = [(text, 0) for text in ["preparing", *preparing(1), *preparing(2), *preparing(2)]]
        steps += [("timing", 1), ("timing", 2)]
        return [(f"pass {number} of 2, {text}", 2 * number - 2 + done, 4) for text, done in steps]

    assert [*of_pass(1), *of_pass(2)] == [step for step in shown if step[0] != "checking"]


def test_no_time_is_left_after_a_resume_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Passes that are there are read at once, and further ones take what a pass is expected to take."""
    machine = Machine(monkeypatch, uneven)
    rows_of(tmp_path)
    assert 3 == len(machine.passes)
    for cell_s, further in ((10.0, [1, 1, 1]), (100.0, []), (0.01, [2, 2, 2])):
        machine.passes = []
        rest = tmp_path / str(cell_s)
        rest.mkdir()
        (rest / PASSES).write_bytes((tmp_path / PASSES).read_bytes())
        monkeypatch.setattr(schedule, "expected_s", lambda campaign, cells, cell_s=cell_s: cell_s * len(cells))
        rows = rows_of(rest, extend=True, until=time.monotonic() + 59)
        assert further == [len(found) for _, found in machine.passes]
        reasons = [row.reason for row in rows if row.implementation == "torch_sdpa"]
        assert 2 - max(further, default=0) == sum(schedule.NO_TIME in reason for reason in reasons)


def test_only_open_cells_are_extended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A clear cell keeps its two passes and the higher level of a first look; an inconclusive one gets two more."""

    def seconds(number: int, cell: CellPlan, arm: str) -> float:
        return 1.0 if arm != "torch_sdpa" else 3.0 if cell.case == SMALL else 1.2 + 0.2 * number

    Machine(monkeypatch, seconds)
    rows = rows_of(tmp_path, WORKLOADS, passes=2, extend=True)
    found = {row.workload: row for row in rows if row.implementation == "torch_sdpa"}

    assert (len(found["small"].wall_s), found["small"].level, found["small"].answer) == (2, 0.99, "slower")
    assert (len(found["large"].wall_s), found["large"].level) == (4, 0.95)


def test_what_was_measured_survives_an_interruption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The rows of the finished passes come before the interruption does."""
    Machine(monkeypatch, half).dies_at = (2, 0)
    rows, known = list[Measurement](), registry.implementations()
    campaign = Campaign(implementations=(known["eager"], known["torch_sdpa"]), workloads=TWO, passes=3)
    with pytest.raises(KeyboardInterrupt):
        rows.extend(measure(campaign, lambda *_: "", lambda *_: None))

    assert [2, 2, 2, 2] == [len(row.wall_s) for row in rows]


def test_an_extension_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10 s left and 4 s for a cell two of three are extended; the third says that no time was left."""
    monkeypatch.setattr(schedule.time, "monotonic", lambda: 100.0)
    cells = [Cell(WORKLOADS[0], parse(SMALL), 1, 0.99) for _ in range(3)]

    assert schedule.affordable(cells, 4.0, 110.0) == cells[:2]
    assert ["", "", schedule.NO_TIME] == [cell.remark for cell in cells]
    assert schedule.affordable(cells, 4.0, 99.0) == []
    assert schedule.affordable(cells, 4.0, math.inf) == cells


def test_what_a_pass_is_expected_to_take() -> None:
    """Its start, three arms that are prepared and timed, so long at least or the rounds of slow calls; a ceiling."""
    known = registry.implementations()
    both = (known["eager"], known["torch_sdpa"])

    def seconds(case: str) -> float:
        campaign = Campaign(implementations=both, workloads=(Workload("w", "made up", case),))
        return schedule.expected_s(campaign, campaign.cells())

    assert seconds(SMALL) == pytest.approx(4 + 3 * (0.25 + 0.1) + 0.05 + 0.1)
    long = "dot_product-B1H8Hk8Lq8192Lk8192D64Dv64-float32-plain-ordinary-contiguous"
    flops = 8 * 4 * 64 * 8192**2
    assert seconds(long) == pytest.approx(4 + 3 * (0.25 + 15 * flops / 1e10) + 0.05 + 0.1)
