"""What a campaign is expected to take, from made-up calibrations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from attention_harness import registry
from attention_harness.benchmark import campaign, estimate, gate
from attention_harness.benchmark.ceilings import Ceilings
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.commands import gating
from attention_harness.execution.lost import Lost
from attention_harness.model.verdict import Status

CASE = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"


def test_gate_and_passes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items of 3 s and 16 elements of 0.5 s each on two workers; a pass starts, prepares and times three arms."""
    monkeypatch.setattr(estimate.pool, "default_jobs", lambda: 2)
    known = registry.implementations()
    entrants = [known["eager"], known["torch_sdpa"]]
    planned = campaign.planned([Workload("w", "made up", CASE)])
    items = gate.items(entrants, [(cell.asked, cell.direction) for cell in planned])
    seen = estimate.Calibration(1.0, {"eager": 3.0, "torch_sdpa": 3.0}, 0.5, Ceilings([]))
    found = estimate.expected(planned, entrants, items, seen, passes=5, time_per_arm=0.1, extend=True)

    assert pytest.approx(1 + 2 * (3 + 16 * 0.5) / 2) == found.gate_s
    assert pytest.approx(1 + 3 * (estimate.PREPARING + 0.1)) == found.pass_s
    assert pytest.approx(found.gate_s + 5 * found.pass_s) == found.seconds
    assert "5 passes of 2 s; as many passes again" in found.told()


@pytest.mark.parametrize(("seconds", "told"), [(3.2, "3 s"), (89, "89 s"), (150, "2.5 min")])
def test_a_duration_is_told_as_people_do(seconds: float, told: str) -> None:
    """Seconds up to a minute and a half, then minutes."""
    assert told == estimate.duration(seconds)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """Replace the workers: what is asked of them is noted, and has no answer."""
    seen: list[tuple[int, list[str]]] = []

    def run(items: list[Any], memory: int = 0, **_: Any) -> Iterator[Any]:
        seen.append((memory, [item.case.id for item in items]))
        return iter(())

    monkeypatch.setattr(gate.pool, "run", run)
    return seen


def test_a_look_without_an_answer_is_no_end(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """On a crowded machine the look's worker may be lost: the duration is not known, and that is said."""

    def alone(*_: Any, **__: Any) -> None:
        raise Lost(Status.TIMEOUT, "no answer in 120 s")

    monkeypatch.setattr(estimate.pool, "alone", alone)
    planned = campaign.planned([Workload("w", "made up", CASE)])
    entrants = [registry.implementations()["eager"]]
    items = gate.items(entrants, [(cell.asked, cell.direction) for cell in planned])
    seen = estimate.calibrate(items, gate.Gate(), (), 2**30)
    found = estimate.expected(planned, entrants, items, seen, passes=5, time_per_arm=0.1, extend=True)

    assert "duration not known; 5 passes" == found.told()
    assert "no answer in 120 s" in capfd.readouterr().err
    assert [(2**30, [CASE])] == asked  # each once, although the smallest case is the largest too


def test_the_gate_keeps_the_limit_on_memory(asked: list[Any]) -> None:
    """Before an implementation is timed by bench against it is asked within the limit of what times it."""
    gating.ask([registry.implementations()["eager"]], [(parse(CASE), "forward")], memory=2**30)

    assert [(2**30, [CASE])] == asked
