"""A cell: from the records of its passes to measurements."""

from __future__ import annotations

from dataclasses import replace

from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.model.pass_records import Failed
from tests.benchmark.made import LARGE, SMALL, WORKLOADS, add_pass, sampled


def cell(*arms: str, workload: Workload = WORKLOADS[0]) -> Cell:
    """Return a cell of a workload."""
    return Cell(workload, parse(workload.case), 1, 0.95, arms=list(arms))


def failed(of: Cell, arm: str) -> Failed:
    """Return the record of an arm that was lost, or of the whole cell."""
    return Failed(number=2, threads=1, cell=of.id, arm=arm, reason="killed")


def test_a_pass_that_was_lost_leaves_the_others() -> None:
    """An error in one pass of three is stated; the other two decide."""
    made = cell("steady", "arm")
    add_pass(made, {"arm": 1.5})
    add_pass(made, {"arm": 1.5})
    made.add_pass([failed(made, "arm")])
    rows = {row.implementation: row for row in made.measurements("steady")}

    assert (rows["arm"].answer, len(rows["arm"].wall_s), rows["arm"].reason) == ("slower", 2, "pass 3: killed")


def test_the_failure_of_a_cell_is_one_of_every_arm() -> None:
    """And another cell's records are none of its business."""
    made, other = cell("steady", "arm"), cell("steady", workload=WORKLOADS[1])
    made.add_pass([failed(made, ""), failed(other, "steady")])

    assert ["pass 1: killed"] * 2 == [row.reason for row in made.measurements("steady")]
    other.add_pass([failed(made, "")])
    assert ["no pass was finished"] == [row.reason for row in other.measurements("steady")]


def test_without_a_baseline_there_are_times_and_no_ratios() -> None:
    """Where the baseline was refused the others are measured, compared with nothing, and say why."""
    made = cell("arm")
    add_pass(made, {"arm": 1.5})
    made.passes = [{"arm": one["arm"]} for one in made.passes]
    made.excluded["steady"] = ("refused", "accuracy: wrong")
    (row,) = made.measurements("steady")

    assert (row.status, row.answer, row.baseline, row.ratio) == ("measured", "", "", None)
    assert row.reason == "no ratio: the baseline steady was not measured here (refused: accuracy: wrong)"


def test_nothing_holds_beside_a_control_that_drifts() -> None:
    """An arm that lost the pass in which it shows is unreliable too; with the first passes alone both hold."""
    made = cell("steady", "arm", "waiting")
    for number, control in enumerate((1.0, 1.0, 1.0, 1.5, 1.5, 1.5)):
        add_pass(made, {"arm": 1.5, "waiting": 1.5})
        made.passes[-1]["steady" + AA_CONTROL] = sampled(made.id, "steady" + AA_CONTROL, control)
        if number > 2:
            made.passes[-1]["arm"] = failed(made, "arm")
    rows = {row.implementation: row for row in made.measurements("steady")}

    assert rows["arm"].control_ratio == 1.0
    assert ["unreliable"] * 2 == [rows[name].answer for name in ("arm", "waiting")]
    assert "the baseline's A/A control, whose ratio is 1, measured 1.22" in rows["arm"].reason
    made.passes = made.passes[:3]
    assert ["slower"] * 2 == [row.answer for row in made.measurements("steady")][1:]


def test_a_shorter_case_may_stand_for_a_long_one() -> None:
    """Conformance is checked on it, in the dtype of the cell, and the measurement says so."""
    made = cell("steady", "arm", workload=Workload("long", "made up", LARGE, gated_on=SMALL))
    made.case = replace(made.case, dtype="bfloat16")
    add_pass(made, {"arm": 1.5})

    assert made.gated_case == replace(parse(SMALL), dtype="bfloat16")
    assert {made.gated_case.id} == {row.gated_on for row in made.measurements("steady")}
