"""The campaign: who is timed, who is not and why, and what reaches the measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from attention_harness import registry
from attention_harness.benchmark import recorder
from attention_harness.benchmark.campaign import Campaign, measure
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.workloads import Workload
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from tests.benchmark.made import WORKLOADS


@pytest.fixture(scope="module")
def finished(files: dict[str, Path]) -> tuple[dict[tuple[str, str], Measurement], list[tuple[str, int, int]]]:
    """Run one campaign with an implementation of every kind. Return its measurements and its progress."""
    names = ("thrice", "wrong", "absent", "narrow", "raising", "dying")
    load = [files[name] for name in (*names, "steady")]
    known = registry.implementations(load)
    shown: list[tuple[str, int, int]] = []
    campaign = Campaign(
        implementations=tuple(known[name] for name in ("steady", *names)),
        workloads=WORKLOADS,
        passes=2,
        time_per_arm_s=0.01,
        baseline="steady",
        load=tuple(load),
    )

    def conforms(implementation: registry.Implementation, case: Case, direction: str) -> str:
        return "drops the last key" if implementation.name == "wrong" else ""

    rows = measure(campaign, conforms, lambda *step: shown.append(step))
    return {(row.workload, row.implementation): row for row in rows}, shown


Finished = tuple[dict[tuple[str, str], Measurement], list[tuple[str, int, int]]]


def test_every_implementation_has_an_answer_on_every_workload(finished: Finished) -> None:
    """Nothing is silently dropped."""
    names = {"steady", "thrice", "wrong", "absent", "narrow", "raising", "dying"}

    assert {(w.name, name) for w in WORKLOADS for name in names} == set(finished[0])


def test_what_is_refused_is_never_timed(finished: Finished, files: dict[str, Path]) -> None:
    """The gate's reason is the measurement's, and the implementation was not even prepared."""
    row = finished[0]["small", "wrong"]

    assert (row.status, row.reason) == ("refused", "drops the last key")
    assert not Path(f"{files['wrong']}.prepared").exists()


def test_what_is_not_measured_says_why(finished: Finished) -> None:
    """Declared limits, missing devices and exceptions each have their status; narrow runs where it can."""
    rows = finished[0]

    assert (rows["small", "absent"].status, rows["small", "absent"].reason) == ("unavailable", "no such device")
    assert (rows["large", "narrow"].status, rows["large", "narrow"].reason) == ("unsupported", "one head only")
    assert rows["small", "narrow"].status == "measured"
    assert rows["small", "raising"].status == "error"
    assert "RuntimeError: no kernel" in rows["small", "raising"].reason


def test_a_process_that_dies_loses_its_own_item_alone(finished: Finished) -> None:
    """A kill while an arm is prepared is that arm's error in that cell; all others have both passes."""
    rows = finished[0]

    assert rows["large", "dying"].status == "error"
    assert "SIGKILL" in rows["large", "dying"].reason
    for found in (rows["small", "dying"], rows["large", "steady"], rows["large", "thrice"], rows["small", "thrice"]):
        assert (found.status, len(found.wall_s)) == ("measured", 2)


def test_the_baseline_is_compared_with_itself(finished: Finished) -> None:
    """Its ratio is 1; its A/A control was measured; its samples pair with everyone's."""
    base, arm = finished[0]["large", "steady"], finished[0]["large", "thrice"]

    assert (base.answer, base.ratio, arm.baseline) == ("baseline", 1.0, "steady")
    assert base.control_ratio is not None
    assert [len(p) for p in base.wall_s] == [len(p) for p in arm.wall_s]


def test_three_times_the_work_takes_longer(finished: Finished) -> None:
    """The ratio is that of the arm to the baseline, not the other way round."""
    ratio = finished[0]["large", "thrice"].ratio

    assert ratio is not None
    assert ratio > 1.5


def test_progress_is_shown_to_its_end(finished: Finished) -> None:
    """Checking, preparing and timing are shown for each pass, and the timing of all cells is reached."""
    shown = finished[1]

    assert [step for step in shown if step[0] == "checking" and step[1] == step[2]] == [("checking", 2, 2)]
    for number in (1, 2):
        assert (f"pass {number} of 2, timing", 2 * number, 4) in shown
        assert (f"pass {number} of 2, preparing", 2 * number - 2, 4) in shown
    assert all(0 <= done <= total for _, done, total in shown)


@pytest.mark.parametrize("wrong", [{"passes": 1}, {"threads": (0,)}, {"time_per_arm_s": -1.0}, {"baseline": "egaer"}])
def test_an_impossible_campaign_is_refused(wrong: dict[str, Any]) -> None:
    """Too few passes, no thread, negative time and a baseline that does not take part are told at once."""
    eager = registry.implementations()["eager"]
    with pytest.raises(HarnessError, match=r"passes|'egaer' is none of eager"):
        Campaign(implementations=(eager,), workloads=WORKLOADS, **wrong)


def test_cells_are_the_product_of_what_is_asked() -> None:
    """Workloads, dtypes, directions and threads; a workload's own where none is given, and each cell once."""
    both = ("forward", "forward_backward")
    own = replace(WORKLOADS[0], dtypes=("float32", "bfloat16"), directions=both)
    eager = registry.implementations()["eager"]

    def cells(*chosen: Workload, **other: Any) -> list[Cell]:
        return Campaign(implementations=(eager,), workloads=chosen, **other).cells()

    made = cells(own, WORKLOADS[1], directions=())

    assert ["small", "small", "small", "small", "large"] == [cell.workload.name for cell in made]
    assert {("float32", "forward"), ("bfloat16", "forward_backward")} < {(c.case.dtype, c.direction) for c in made}
    assert 2 * 1 * 2 * 3 == len(cells(*WORKLOADS, dtypes=("float64",), directions=both, threads=(1, 2, 4)))
    with pytest.raises(HarnessError, match="same case"):
        cells(own, replace(own, name="again"))


def test_pytest_benchmark_compares_our_document(finished: Finished, tmp_path: Path) -> None:
    """Its own command reads the file, groups by workload and lists every measured arm."""
    document = recorder.document(finished[0].values())
    path = tmp_path / "0001_run.json"
    path.write_text(json.dumps(document, allow_nan=False))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(path), "--group-by=group", "--columns=median"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert "benchmark 'large-float32-forward-1'" in shown
    assert "large-float32-forward-1-thrice" in shown
    assert "large-float32-forward-1-wrong" not in shown
    assert len(document["attention_harness"]["not_measured"]) == 8


def test_planning_imports_no_framework() -> None:
    """The campaign, both ends of a pass, statistics and workloads load without torch, which a pass loads itself."""
    names = ("campaign", "manager", "recorder", "schedule", "statistics", "worker", "workloads")
    code = f"import sys; from attention_harness.benchmark import {', '.join(names)}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
