"""The campaign: who is timed, what a death costs, and what reaches the measurements."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from attention_harness import registry
from attention_harness.benchmark import campaign, recorder, timing, worker, workloads
from attention_harness.benchmark.cell import combined
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases import ids, inputs
from attention_harness.execution import machine
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment
from attention_harness.store.encoding import decode, encode

SMALL = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"
LARGE = "dot_product-B1H2Hk2Lq32Lk32D16Dv16-float32-plain-ordinary-contiguous"
WORKLOADS = (Workload("small", "made up", SMALL), Workload("large", "made up", LARGE))

HEAD = """
from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("dot_product",))


def attend(query, key, value):
    return (query @ key.mT).softmax(-1) @ value

"""
FILES = {
    "steady": "def prepare(case):\n    return attend\n",
    # the same three times over: slower on any machine
    "thrice": "def prepare(case):\n    return lambda **t: [attend(**t) for _ in range(3)][0]\n",
    "wrong": "def prepare(case):\n    open(__file__ + '.prepared', 'a').close()\n    return attend\n",
    "absent": "def unavailable():\n    return 'no such device'\ndef prepare(case):\n    return attend\n",
    "narrow": "def unsupported(case):\n    return 'one head only' if case.sizes['H'] > 1 else ''\n"
    "def prepare(case):\n    return attend\n",
    "raising": "def prepare(case):\n    raise RuntimeError('no kernel\\nat all')\n",
    # its process dies, as a crash of native code does
    "dying": "import os, signal\ndef prepare(case):\n    if case.sizes['H'] > 1:\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n    return attend\n",
    # calls 2 and later are warm-up and rounds: then it is not known which arm it was
    "late": "import os, signal\ndef prepare(case):\n    calls = []\n    def call(**t):\n        calls.append(1)\n"
    "        if case.sizes['H'] > 1 and len(calls) > 1:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
    "        return attend(**t)\n    return call\n",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the implementations' files by name."""
    folder = tmp_path_factory.mktemp("implementations")
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(f'"""Stand-in."""\n{HEAD}\n{text}')
    return {name: folder / f"{name}.py" for name in FILES}


@pytest.fixture(scope="module")
def finished(files: dict[str, Path]) -> tuple[dict[tuple[str, str], Measurement], list[tuple[str, int, int]]]:
    """Run one campaign with an implementation of every kind. Return its measurements and its progress."""
    names = ("thrice", "wrong", "absent", "narrow", "raising", "dying")
    load = [files[name] for name in (*names, "steady")]
    known = registry.implementations(load)
    shown: list[tuple[str, int, int]] = []
    rows = campaign.run(
        [known[name] for name in names],
        WORKLOADS,
        passes=2,
        time_per_arm=0.01,
        baseline="steady",
        gate=lambda implementation, case, direction: "drops the last key" if implementation.name == "wrong" else "",
        progress=lambda *step: shown.append(step),
        load=load,
    )
    return {(row.workload, row.implementation): row for row in rows}, shown


Campaign = tuple[dict[tuple[str, str], Measurement], list[tuple[str, int, int]]]


def test_every_implementation_has_an_answer_on_every_workload(finished: Campaign) -> None:
    """Nothing is silently dropped, and the baseline runs although nobody named it."""
    names = {"steady", "thrice", "wrong", "absent", "narrow", "raising", "dying"}

    assert {(w.name, name) for w in WORKLOADS for name in names} == set(finished[0])


def test_what_is_refused_is_never_timed(finished: Campaign, files: dict[str, Path]) -> None:
    """The gate's reason is the measurement's, and the implementation was not even prepared."""
    row = finished[0]["small", "wrong"]

    assert (row.status, row.reason) == ("refused", "drops the last key")
    assert not Path(f"{files['wrong']}.prepared").exists()


def test_what_is_not_measured_says_why(finished: Campaign) -> None:
    """Declared limits, missing devices and exceptions each have their status; narrow runs where it can."""
    rows = finished[0]

    assert (rows["small", "absent"].status, rows["small", "absent"].reason) == ("unavailable", "no such device")
    assert (rows["large", "narrow"].status, rows["large", "narrow"].reason) == ("unsupported", "one head only")
    assert rows["small", "narrow"].status == "measured"
    assert rows["small", "raising"].status == "error"
    assert "RuntimeError: no kernel" in rows["small", "raising"].reason


def test_a_process_that_dies_loses_its_own_item_alone(finished: Campaign) -> None:
    """A kill while an arm is prepared is that arm's error in that cell; all others have both passes."""
    rows = finished[0]

    assert rows["large", "dying"].status == "error"
    assert "SIGKILL" in rows["large", "dying"].reason
    for found in (rows["small", "dying"], rows["large", "steady"], rows["large", "thrice"], rows["small", "thrice"]):
        assert (found.status, len(found.wall_s)) == ("measured", 2)


def test_the_baseline_is_compared_with_itself(finished: Campaign) -> None:
    """Its ratio is 1; its A/A control was measured; its samples pair with everyone's."""
    base, arm = finished[0]["large", "steady"], finished[0]["large", "thrice"]

    assert (base.answer, base.ratio, arm.baseline) == ("baseline", 1.0, "steady")
    assert base.sentinel_ratio is not None
    assert [len(p) for p in base.wall_s] == [len(p) for p in arm.wall_s]


def test_three_times_the_work_takes_longer(finished: Campaign) -> None:
    """The ratio is that of the arm to the baseline, not the other way round."""
    ratio = finished[0]["large", "thrice"].ratio

    assert ratio is not None
    assert ratio > 1.5


def test_progress_is_shown_to_its_end(finished: Campaign) -> None:
    """Checking, preparing and timing are shown for each pass, and the timing of all cells is reached."""
    shown = finished[1]

    assert [step for step in shown if step[0] == "checking" and step[1] == step[2]] == [("checking", 2, 2)]
    for number in (1, 2):
        assert (f"pass {number} of 2, timing", 2 * number, 4) in shown
        assert (f"pass {number} of 2, preparing", 2 * number - 2, 4) in shown
    assert all(0 <= done <= total for _, done, total in shown)


def plan(order: list[dict[str, Any]], load: list[Path]) -> dict[str, Any]:
    """Return the plan of a pass."""
    paths = [str(path) for path in load]
    return {"cells": order, "threads": 1, "time_per_arm": 0, "rounds": 15, "load": paths, "seed": "0", "peak": False}


def test_a_death_while_timing_loses_its_cell_alone(files: dict[str, Path]) -> None:
    """Between rounds nobody knows whose fault it was: the cell has an error, the other its samples."""
    both = {"arms": ["steady", "late"], "direction": "forward"}
    shown: list[dict[str, Any]] = []
    order = [{"cell": case, "case": case, **both} for case in (LARGE, SMALL)]
    records = worker.run_pass(plan(order, [files["steady"], files["late"]]), shown.append)
    samples = {(r["cell"], r["arm"]) for r in records if r["event"] == "samples"}
    errors = [(r["cell"], r["arm"]) for r in records if r["event"] == "error"]

    assert {(SMALL, "steady"), (SMALL, "late")} == samples
    assert errors == [(LARGE, "")]
    assert [r["cell"] for r in shown if r["event"] == "end"] == [SMALL]


@pytest.mark.parametrize(
    ("code", "told"), [(-9, "SIGKILL"), (-35, "signal 35"), (-64, "SIGRTMAX"), (3, "exit status 3")]
)
def test_every_death_has_a_name(code: int, told: str) -> None:
    """Also by a signal that Python has no name for."""
    assert told == worker._death(code, "", False)


def test_a_process_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """A broken plan is one line of explanation, not an endless restart."""
    lonely = {"cell": SMALL, "case": SMALL, "direction": "forward", "arms": ["x"]}
    with pytest.raises(HarnessError, match=r"died before it measured anything.*nowhere"):
        worker.run_pass(plan([lonely], [tmp_path / "nowhere.py"]), lambda _: None)


def test_a_process_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Nothing finished within the limit ends the wait; a process that ends by itself is no stall."""
    records = tmp_path / "records.jsonl"
    records.write_text("")
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        assert worker._watch(sleeping, records, lambda _: None, 0.3)
    finally:
        sleeping.kill()
        sleeping.wait()
    assert not worker._watch(sleeping, records, lambda _: None, 0.3)


def test_a_process_whose_rounds_take_long_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round takes most of the limit and writes nothing but the file's time: it lives; then it hangs."""
    records, now, rounds = tmp_path / "records.jsonl", [0.0], 5
    records.write_text("")

    class Slow:
        """A process that ends no wait."""

        waits = 0

        def wait(self, timeout: float) -> None:
            self.waits += 1
            now[0] += 200.0
            if self.waits <= rounds:
                os.utime(records, ns=(0, self.waits))
            raise subprocess.TimeoutExpired("slow", timeout)

    slow = Slow()
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    assert worker._watch(slow, records, lambda _: None, 300.0)  # type: ignore[arg-type]
    assert rounds + 2 == slow.waits


def test_a_round_is_a_sign_of_life() -> None:
    """After each of them."""
    case, beats = ids.parse(SMALL), []
    arms = {"eager": timing.warm(registry.implementations()["eager"].prepare(case), inputs.tensors(case))}
    effort = {"time_per_arm": 0.0, "least": 3, "rng": random.Random(0), "beat": lambda: beats.append(1)}
    samples = timing.rounds(arms, inputs.tensors(case), **effort)
    assert 3 == len(beats) == len(samples["eager"])


def test_half_a_line_is_not_read(tmp_path: Path) -> None:
    """What a killed process was writing is left out; the lines before it count."""
    path = tmp_path / "records.jsonl"
    path.write_text('{"event": "ready"}\n{"event": "sam')

    assert worker._read(path) == [{"event": "ready"}]


@pytest.mark.parametrize("wrong", [{"passes": 1}, {"threads": (0,)}, {"time_per_arm": -1.0}, {"baseline": "egaer"}])
def test_an_impossible_campaign_is_refused(wrong: dict[str, Any]) -> None:
    """Too few passes, no thread, negative time and an unknown baseline are the user's mistakes, told at once."""
    usual: dict[str, Any] = {"passes": 2, "time_per_arm": 0.1, "gate": lambda *_: "", "progress": lambda *_: None}
    with pytest.raises(HarnessError, match=r"passes|Did you mean 'eager'"):
        list(campaign.run([], WORKLOADS, **usual | wrong))


def adder(cell: campaign.Cell) -> Callable[[float], None]:
    """Return what adds a pass to a cell in which an arm's ratio to the baseline is a number."""

    def add(factor: float) -> None:
        record = {"event": "samples", "prepare_s": 0.0, "first_call_s": 0.1, "calls": 1, "one_thread": True}
        record |= {"peak_bytes": None, "faults": 0.0}
        times = {"steady": 1.0, f"steady{worker.AA_CONTROL}": 1.0, "arm": factor}
        cell.taken.append({name: record | {"wall_s": [t] * 15, "cpu_s": [t] * 15} for name, t in times.items()})

    return add


def test_a_pass_that_was_lost_leaves_the_others() -> None:
    """An error in one pass of three is stated; the other two decide."""
    case = ids.parse(SMALL)
    cell = campaign.Cell(WORKLOADS[0], case, 1, 0.95, arms=["steady", "arm"])
    add = adder(cell)
    add(1.5)
    add(1.5)
    cell.taken.append({"arm": {"event": "error", "reason": "killed"}})
    rows = {row.implementation: row for row in combined(cell, "steady")}

    assert (rows["arm"].answer, len(rows["arm"].wall_s), rows["arm"].reason) == ("slower", 2, "pass 3: killed")


def test_without_a_baseline_there_are_times_and_no_ratios() -> None:
    """Where the baseline was refused the others are measured, compared with nothing, and say why."""
    cell = campaign.Cell(WORKLOADS[0], ids.parse(SMALL), 1, 0.95, arms=["arm"])
    add = adder(cell)
    add(1.5)
    cell.taken = [{"arm": taken["arm"]} for taken in cell.taken]
    cell.excluded["steady"] = ("refused", "accuracy: wrong")
    (row,) = combined(cell, "steady")

    assert (row.status, row.answer, row.baseline, row.ratio) == ("measured", "", "", None)
    assert row.reason == "no ratio: the baseline steady was not measured here (refused: accuracy: wrong)"


def test_the_quick_matrix_has_every_mechanism() -> None:
    """Names and cases are unique, every case is valid, and the quick part leaves no mechanism out."""
    every = workloads.full()

    assert {True, False} == {workload.full for workload in every}
    assert set(workloads.quick()) < set(workloads.default()) < set(every)
    assert set(registry.mechanisms()) == {workload.mechanism for workload in workloads.quick()}
    assert len(every) == len({w.name for w in every}) == len({w.case for w in every})
    assert [w.case for w in every] == [ids.parse(w.case).id for w in every]
    assert all(w.cites for w in every)
    with pytest.raises(HarnessError, match="Did you mean 'bert_base'"):
        workloads.select(["bert_bsae"])


def test_an_extension_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10 s left and 4 s for a cell two of three are extended; the third says that no time was left."""
    monkeypatch.setattr(campaign.time, "monotonic", lambda: 100.0)
    found = [campaign.Cell(WORKLOADS[0], ids.parse(SMALL), 1, 0.99) for _ in range(3)]

    assert campaign._affordable(found, 4.0, 110.0) == found[:2]
    assert ["", "", "not extended: no time was left"] == [cell.remark for cell in found]
    assert campaign._affordable(found, 4.0, 99.0) == []
    assert campaign._affordable(found, float("nan"), 110.0) == []
    assert campaign._affordable(found, float("nan"), float("inf")) == found


def test_cells_are_the_product_of_what_is_asked() -> None:
    """Workloads, dtypes, directions and threads; a workload's own where none is given, and each cell once."""
    both = ("forward", "forward_backward")
    own = replace(WORKLOADS[0], dtypes=("float32", "bfloat16"), directions=both)
    made = campaign.planned([own, WORKLOADS[1]], directions=())

    assert ["small", "small", "small", "small", "large"] == [cell.workload.name for cell in made]
    assert {("float32", "forward"), ("bfloat16", "forward_backward")} < {(c.case.dtype, c.direction) for c in made}
    assert 2 * 1 * 2 * 3 == len(campaign.planned(WORKLOADS, ["float64"], ["cpu"], both, (1, 2, 4)))
    with pytest.raises(HarnessError, match="same case"):
        campaign.planned([own, replace(own, name="again")])


def test_a_shorter_case_may_stand_for_a_long_one() -> None:
    """The gate is asked about it, in the dtype of the cell, and the measurement says so."""
    long = Workload("long", "made up", LARGE, dtypes=("bfloat16",), gated_on=SMALL)
    [cell] = campaign.planned([long])
    cell.arms = ["steady", "arm"]
    adder(cell)(1.5)

    assert cell.asked == replace(ids.parse(SMALL), dtype="bfloat16")
    assert {cell.asked.id} == {row.gated_on for row in combined(cell, "steady")}


def test_pytest_benchmark_compares_our_document(finished: Campaign, tmp_path: Path) -> None:
    """Its own command reads the file, groups by workload and lists every measured arm."""
    document = recorder.document(finished[0].values(), machine.environment())
    path = tmp_path / "0001_run.json"
    path.write_text(json.dumps(document, allow_nan=False))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(path), "--group-by=group", "--columns=median"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert "benchmark 'large-float32-forward-1'" in shown
    assert "large-float32-forward-1-thrice" in shown
    assert "large-float32-forward-1-wrong" not in shown
    assert len(document["attention_harness"]["not_measured"]) == 8


def test_the_environment_is_plain_data() -> None:
    """It goes into a file and comes back, and two readings agree in everything but the load."""
    first, second = machine.environment(), machine.environment()

    assert first == decode(encode(first), Environment)
    assert structs.replace(first, load=None) == structs.replace(second, load=None)


def test_planning_imports_no_framework() -> None:
    """Benchmark, statistics, measurements and workloads load on a machine without torch."""
    names = ("cell", "recorder", "statistics", "timing", "workloads")
    code = f"import sys; from attention_harness.benchmark import {', '.join(names)}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_open_cells_are_extended(monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> None:
    """A clear cell keeps its two passes and the higher level of a first look; an inconclusive one gets two more."""
    count = 0

    def fake(plan: dict[str, Any], notice: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
        nonlocal count
        count += 1
        record = {"event": "samples", "prepare_s": 0.0, "first_call_s": 0.1, "calls": 1, "one_thread": True}
        record |= {"peak_bytes": None, "faults": 0.0}
        for cell in plan["cells"]:
            for arm in cell["arms"]:
                factor = 1.0 if arm != "thrice" else 3.0 if cell["case"] == SMALL else 1.0 + 0.2 * count
                times = [factor] * 15
                notice(record | {"cell": cell["cell"], "arm": arm, "wall_s": times, "cpu_s": times})
        return []

    monkeypatch.setattr(campaign, "run_pass", fake)
    load = [files["steady"], files["thrice"]]
    known = registry.implementations(load)
    quiet: dict[str, Any] = {"gate": lambda *_: "", "progress": lambda *_: None}
    rows = campaign.run([known["thrice"]], WORKLOADS, passes=2, baseline="steady", load=load, extend=True, **quiet)
    found = {row.workload: row for row in rows if row.implementation == "thrice"}

    assert (len(found["small"].wall_s), found["small"].level, found["small"].answer) == (2, 0.99, "slower")
    assert (len(found["large"].wall_s), found["large"].level) == (4, 0.95)
