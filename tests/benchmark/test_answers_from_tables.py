"""An implementation that answers repeated inputs from a table gets no time; honest ones are none the worse."""

from __future__ import annotations

import random
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import structs

from attention_harness import registry
from attention_harness.benchmark import spot_check, statistics, timing
from attention_harness.benchmark.arms import Arm, Problem
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.roofline import TOO_FAST, with_ceilings
from attention_harness.benchmark.rotation import SETS, Rotation
from attention_harness.cases.ids import parse
from attention_harness.model.pass_records import Failed
from tests.benchmark import made
from tests.benchmark.test_roofline import MACHINE, ROW

CASE = "scaled_dot_product-B1H4Hk4Lq256Lk256D64Dv64-float32-plain-ordinary-contiguous"
LONG = "scaled_dot_product-B1H2Hk2Lq900Lk900D8Dv8-float32-plain-ordinary-contiguous"
HEAD = '''"""Answers from a table."""
from attention_harness.implementations import eager

CAPABILITIES = eager.CAPABILITIES


def prepare(case):
    attend, table = eager.prepare(case), {{}}

    def call(**tensors):
        key = {key}
        if key not in table:
            table[key] = {kept}, attend(**tensors)
        return table[key][1]

    return call
'''
TABLES = {
    "by_object": HEAD.format(key="tuple(map(id, tensors.values()))", kept="list(tensors.values())"),
    "by_address": HEAD.format(key="tuple(x.data_ptr() for x in tensors.values())", kept="None"),
    "by_first_numbers": HEAD.format(key="(len(tensors), 0)", kept="None"),
    "by_value": HEAD.format(key="tuple(float(x.sum()) for x in tensors.values())", kept="None"),
}


def arm_of(case: str, folder: Path | None = None, name: str = "eager", direction: str = "forward") -> Arm:
    """Return an arm that is warm and was timed for three samples."""
    load = []
    if folder:
        load = [folder / f"{name}.py"]
        load[0].write_text(TABLES[name])
    arm = Arm(registry.implementations(load)[name], Problem(parse(case), direction))
    arm.warm()
    for _ in range(3):
        arm.sample()
    return arm


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_told_plainly(tmp_path: Path, name: str) -> None:
    """By object and by address its answers are those of other numbers; by value it is looked up where it repeats."""
    reason = spot_check.why_not_timed(arm_of(CASE, tmp_path, name))
    looked_up, stale = "inputs that it has met from a table", "inputs that it had not met is wrong"
    assert (looked_up if name == "by_value" else stale) in reason


def test_a_table_of_gradients_is_told_too(tmp_path: Path) -> None:
    """The graph of a call that was freed raises, or answers with other gradients."""
    small = "scaled_dot_product-B1H2Hk2Lq16Lk16D8Dv8-float32-plain-ordinary-contiguous"
    arm = arm_of(small, direction="forward_backward")
    assert spot_check.why_not_timed(arm) == ""
    call, stale = arm.call, arm.call(**arm.problem.rotation.sets[0])
    arm.call = lambda **tensors: stale
    assert "gradient of query" in spot_check.why_not_timed(arm)
    arm.call = call


@pytest.mark.parametrize("case", [CASE, LONG])
def test_an_honest_implementation_is_timed(case: str) -> None:
    """Long ones are judged by their last block of queries."""
    assert spot_check.why_not_timed(arm_of(case)) == ""


def test_a_moment_of_a_busy_machine_is_no_table() -> None:
    """The first calls take a hundred times as long as they do."""
    arm, slow = arm_of(CASE), iter([100.0, 1.0, 1.0] * 3)
    once = arm.clock.once
    arm.clock = types.SimpleNamespace(once=lambda call, tensors: once(call, tensors) * next(slow, 1.0))
    assert spot_check.why_not_timed(arm) == ""


def test_two_copies_take_the_same_time() -> None:
    """An A/A control in the rotation: the median ratio of two copies of eager is near 1."""
    problem = Problem(parse(CASE))
    arms = {name: Arm(registry.implementations()["eager"], problem) for name in ("one", "other")}
    for arm in arms.values():
        arm.warm()
    found = timing.rounds(arms, time_per_arm=0.2, rng=random.Random(0), least=30)
    times = [[sample.cpu_s for sample in samples] for samples in found.values()]
    assert abs(statistics.log_ratio(*times)) < 0.1


def test_no_call_of_a_sample_meets_numbers_of_another() -> None:
    """Sets differ from each other and from sample to sample, in the same memory, with the case's own rows."""
    tensors = {"query": torch.randn(2, 3, 4), "key": torch.randn(2, 4, 3).mT, "mask": torch.ones(3, dtype=torch.bool)}
    rotation = Rotation(tensors, frozenset({"query", "key"}), 1)
    assert len(rotation.sets) == SETS
    before = [one["query"].clone() for one in rotation.sets]
    addresses = [one["query"].data_ptr() for one in rotation.sets]
    rotation.refresh()
    now = [one["query"].clone() for one in rotation.sets]
    assert addresses == [one["query"].data_ptr() for one in rotation.sets]
    assert all(address % 64 == addresses[0] % 64 for address in addresses)
    every = [tuple(one.flatten().tolist()) for one in (*before, *now)]
    assert len(set(every)) > SETS  # one tensor alone may repeat, all of them together do not
    assert rotation.sets[0]["key"].stride() == tensors["key"].stride()
    assert rotation.sets[5]["mask"] is tensors["mask"]
    rows = {tuple(row) for row in tensors["query"].reshape(-1, 4).tolist()}
    assert {tuple(row) for one in now for row in one.reshape(-1, 4).tolist()} <= rows


def test_what_needs_much_memory_has_one_set() -> None:
    """Its numbers change between samples, of one call each."""
    rotation = Rotation({"query": torch.zeros(5 << 20)}, frozenset({"query"}), 1)
    assert len(rotation.sets) == 1


def test_a_wrong_answer_in_one_pass_refuses_all() -> None:
    """Times of the other passes do not count."""
    cell = Cell(made.WORKLOADS[0], parse(made.SMALL), 1, 0.95, arms=["steady", "table"])
    made.add_pass(cell, {"table": 0.01})
    failed = Failed(number=1, threads=1, cell=cell.id, arm="table", reason="looked up", wrong=True)
    cell.add_pass([made.sampled(cell.id, "steady", 1.0, number=1), failed])
    made.add_pass(cell, {"table": 0.01})
    [_, row] = cell.measurements("steady")
    assert ("refused", "looked up") == (row.status, row.reason)


@pytest.mark.parametrize(("seconds", "answer"), [(3e-4, "faster"), (1e-6, "unreliable")])
def test_beyond_the_ceiling_nothing_is_faster(seconds: float, answer: str) -> None:
    """By more than the readings of the ceiling differ: here twice."""
    compared: Any = {"baseline": "eager", "ratio": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "answer": "faster"}
    row = structs.replace(ROW, clock="wall", wall_s=((seconds,),), **compared)
    [row] = with_ceilings([row], MACHINE)
    assert answer == row.answer
    assert (TOO_FAST in row.reason) is (answer == "unreliable")
