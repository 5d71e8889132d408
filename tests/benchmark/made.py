"""Cells and records whose truth is known."""

from __future__ import annotations

from typing import Any

import pytest

from attention_harness.benchmark import gate
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.workloads import Workload
from attention_harness.execution.run import run_checks
from attention_harness.model.case import Case
from attention_harness.model.pass_records import Sampled
from attention_harness.registry import Implementation

SMALL = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"
LARGE = "dot_product-B1H2Hk2Lq32Lk32D16Dv16-float32-plain-ordinary-contiguous"
WORKLOADS = (Workload("small", "made up", SMALL), Workload("large", "made up", LARGE))


def sampled(cell: str, arm: str, seconds: float, *, number: int = 0, **other: Any) -> Sampled:
    """Return the record of an arm whose every call takes so long."""
    times = (seconds,) * 15
    facts: dict[str, Any] = {
        "number": number,
        "threads": 1,
        "prepare_s": 0.0,
        "first_call_s": 0.1,
        "calls": 1,
        "peak_bytes": None,
        "one_thread": True,
        "waits": False,
        "faults": 0.0,
        "wall_s": times,
        "cpu_s": times,
        "cut": (),
    }
    return Sampled(cell=cell, arm=arm, **facts | other)


def add_pass(cell: Cell, arms: dict[str, float], baseline: str = "steady") -> None:
    """Add a pass to a cell: seconds by arm; the baseline and its A/A control take one second."""
    every = {baseline: 1.0, baseline + AA_CONTROL: 1.0} | arms
    cell.add_pass([sampled(cell.id, name, seconds) for name, seconds in every.items()])


def conforms(implementation: Implementation, case: Case, direction: str = "forward") -> str:
    """Check in this process, as the gate does in others. Return "" if it conforms, else why not."""
    verdicts = gate.Gate()
    for item in gate.items([implementation], [(case, direction)]):
        verdicts.add(run_checks(item))
    return verdicts(implementation, case, direction)


def limit_effort(monkeypatch: pytest.MonkeyPatch, **effort: Any) -> None:
    """Give campaigns that name no effort of their own this one: `passes`, `time_per_arm_s`."""
    for name, value in effort.items():
        monkeypatch.setitem(Campaign.__init__.__kwdefaults__, name, value)
