"""What a campaign is expected to take, from made-up calibrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from attention_harness import registry
from attention_harness.benchmark import estimate, gate
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.roofline import Ceilings
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.commands import gating
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.verdict import Status

CASE = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"


def campaign(*names: str) -> Campaign:
    """Return a campaign of one cell."""
    known = registry.implementations()
    everyone = tuple(known[name] for name in names)
    return Campaign(implementations=everyone, workloads=(Workload("w", "made up", CASE),), extend=True)


def items(of: Campaign) -> list[Item]:
    """Return what is checked before it is timed."""
    return gate.items(of.implementations, [(cell.gated_case, cell.direction) for cell in of.cells()])


def test_gate_and_passes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items of 3 s and 16 elements of 0.5 s each on two workers; a pass starts, prepares and times three arms."""
    monkeypatch.setattr(estimate.pool, "default_jobs", lambda: 2)
    made = campaign("eager", "torch_sdpa")
    seen = estimate.Calibration(1.0, {"eager": 3.0, "torch_sdpa": 3.0}, 0.5, Ceilings([]))
    found = estimate.expected(made, made.cells(), items(made), seen)

    assert pytest.approx(1 + 2 * (3 + 16 * 0.5) / 2) == found.gate_s
    assert pytest.approx(1 + 3 * (estimate.PREPARING_S + 0.1)) == found.pass_s
    assert pytest.approx(found.gate_s + 5 * found.pass_s) == found.seconds
    assert "5 passes of 2.05 s; as many passes again" in found.sentence()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """Replace the workers: what they would check is noted with its limit, and has no verdict."""
    seen: list[tuple[int, list[str]]] = []

    def run(runner: PoolRunner, items: Sequence[Any]) -> Iterator[Any]:
        seen.append((runner.limits.memory, [item.case.id for item in items]))
        return iter(())

    monkeypatch.setattr(PoolRunner, "run", run)
    return seen


def test_a_look_without_an_answer_is_no_end(monkeypatch: pytest.MonkeyPatch, checked: list[Any]) -> None:
    """On a crowded machine the look's worker may be lost: the duration is not known, and there is a note of it."""

    def lost(*_: Any, **__: Any) -> None:
        raise Lost(Status.TIMEOUT, "no answer in 120 s")

    monkeypatch.setattr(estimate.pool, "run_alone", lost)
    made = campaign("eager")
    seen = estimate.calibrate(items(made), gate.Gate(), (), 2**30)
    found = estimate.expected(made, made.cells(), items(made), seen)

    assert "duration not known; 5 passes" == found.sentence()
    assert "no answer in 120 s" in seen.note
    assert [(2**30, [CASE])] == checked  # each once, although the smallest case is the largest too


def test_the_gate_keeps_the_limit_on_memory(checked: list[Any]) -> None:
    """What is checked before it is timed is checked within the limit of what times it."""
    eager = registry.implementations()["eager"]
    gating.check(gate.items([eager], [(parse(CASE), "forward")]), gate.Gate(), memory=2**30)

    assert [(2**30, [CASE])] == checked
