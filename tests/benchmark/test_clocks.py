"""A clock that an arm has replaced gives it no better time: clocks are bound before it, and held against another."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from attention_harness.benchmark.manager import _of_another_clock, run_pass
from attention_harness.benchmark.worker import CellPlan
from attention_harness.model.pass_records import Ended, Failed, Record, Sampled
from tests.benchmark.conftest import HEAD
from tests.benchmark.made import SMALL, sampled
from tests.benchmark.test_manager import plan

PATCHED = """
import time
for name in ("perf_counter", "perf_counter_ns", "thread_time", "thread_time_ns", "process_time", "monotonic"):
    setattr(time, name, lambda: 0)
import torch
torch.cuda.synchronize = lambda *_: None
def prepare(case):
    return attend
"""


def test_replaced_clocks_are_not_read(files: dict[str, Path], tmp_path: Path) -> None:
    """Neither the arm that replaces them nor the one beside it has other times than those of a right clock."""
    path = tmp_path / "patched.py"
    path.write_text(HEAD + PATCHED)
    records: list[Record] = []
    run_pass(plan([CellPlan(SMALL, SMALL, "forward", ("steady", "patched"))], [files["steady"], path]), records.append)
    times = {record.arm: statistics.median(record.wall_s) for record in records if isinstance(record, Sampled)}
    assert [] == [record for record in records if isinstance(record, Failed)]
    assert 1e-6 < times["steady"]
    assert 1 / 3 < times["patched"] / times["steady"] < 3


@pytest.mark.parametrize(
    ("counted", "calls", "elapsed", "trusted"),
    [
        (2.0, 1.9, 2.1, True),
        (None, 1.9, 2.1, True),  # of an earlier version's record nothing is known
        (1.0, 0.9, 2.1, False),  # a clock that goes at half speed
        (4.0, 1.9, 2.1, False),
        (2.1, 6.0, 2.1, False),  # times that do not fit into the time that passed
    ],
)
def test_a_clock_is_held_against_the_parent_s(
    counted: float | None, calls: float, elapsed: float, trusted: bool
) -> None:
    """What passed here between the first and the last record of a cell is what its process must have counted."""
    records = [sampled(SMALL, name, calls / 30) for name in ("a", "b")]
    total = sum(record.calls * sum(record.wall_s) for record in records)
    assert pytest.approx(calls) == total
    ended = Ended(number=0, threads=1, cell=SMALL, clock_s=counted)
    found = list(_of_another_clock(records, ended, elapsed))
    assert ([] if trusted else ["a", "b"]) == [failed.arm for failed in found]
