"""Both ends of a pass: what a death costs, and what stands in the records."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from attention_harness import registry
from attention_harness.benchmark import timing
from attention_harness.benchmark.arms import Arm, Problem
from attention_harness.benchmark.manager import run_pass
from attention_harness.benchmark.worker import CellPlan, PassPlan
from attention_harness.cases.ids import parse
from attention_harness.model.errors import HarnessError
from attention_harness.model.pass_records import Ended, Failed, Record, Sampled
from tests.benchmark.made import LARGE, SMALL


def plan(cells: list[CellPlan], load: list[Path]) -> PassPlan:
    """Return the plan of a pass."""
    facts: dict[str, Any] = {"number": 0, "threads": 1, "seed": "0", "time_per_arm_s": 0.0, "rounds": 15}
    return PassPlan(cells=tuple(cells), load=tuple(load), memory=2**34, **facts)


def test_a_death_while_timing_loses_its_cell_alone(files: dict[str, Path]) -> None:
    """Between rounds nobody knows whose fault it was: the cell has an error, the other its samples."""
    cells = [CellPlan(case, case, "forward", ("steady", "late")) for case in (LARGE, SMALL)]
    records: list[Record] = []
    run_pass(plan(cells, [files["steady"], files["late"]]), records.append)
    failed = [record for record in records if isinstance(record, Failed)]

    assert {(SMALL, "steady"), (SMALL, "late")} == {(r.cell, r.arm) for r in records if isinstance(r, Sampled)}
    assert [(LARGE, "")] == [(record.cell, record.arm) for record in failed]
    assert "while the cell was timed" in failed[0].reason
    assert "SIGKILL" in failed[0].reason
    assert [SMALL] == [record.cell for record in records if isinstance(record, Ended)]


def test_a_process_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """A broken plan is one line of explanation, not an endless restart."""
    with pytest.raises(HarnessError, match=r"process gave nothing.*nowhere"):
        run_pass(plan([CellPlan(SMALL, SMALL, "forward", ("x",))], [tmp_path / "nowhere.py"]), lambda _: None)


def test_a_process_that_hangs_is_given_up(files: dict[str, Path]) -> None:
    """An arm that never returns is an error after the limit, and what does not need it goes on."""
    records: list[Record] = []
    cells = [CellPlan(SMALL, SMALL, "forward", ("hanging", "steady"))]
    run_pass(plan(cells, [files["steady"], files["hanging"]]), records.append, stall_s=12.0)
    [failed] = [record for record in records if isinstance(record, Failed)]

    assert ("hanging", "while hanging was prepared: nothing finished in 12 s") == (failed.arm, failed.reason)
    assert ["steady"] == [record.arm for record in records if isinstance(record, Sampled)]


def test_a_round_is_a_sign_of_life() -> None:
    """After each of them, so that a cell whose rounds take long is waited for."""
    beats: list[int] = []
    arm = Arm(registry.implementations()["eager"], Problem(parse(SMALL)))
    effort: dict[str, Any] = {"time_per_arm": 0.0, "least": 3, "rng": random.Random(0)}
    samples = timing.rounds({"eager": arm}, beat=lambda: beats.append(1), **effort)
    assert 3 == len(beats) == len(samples["eager"])
