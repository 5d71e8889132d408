"""What a campaign is expected to take, from made-up calibrations."""

from __future__ import annotations

import pytest

from harness import registry
from harness.bench import cells, estimate, gate
from harness.bench.ceilings import Ceilings
from harness.bench.workloads import Workload

CASE = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous-0"


def test_gate_and_passes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items of 3 s and 16 elements of 0.5 s each on two workers; a pass starts, prepares and times three arms."""
    monkeypatch.setattr(estimate.execution, "default_jobs", lambda: 2)
    known = registry.implementations()
    entrants = [known["eager"], known["torch_sdpa"]]
    planned = cells.planned([Workload("w", "made up", CASE)])
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
