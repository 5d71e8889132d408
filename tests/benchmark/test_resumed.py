"""A benchmark that was killed goes on: with the cells and passes that are missing, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from attention_harness import registry, store
from attention_harness.benchmark import campaign, worker
from attention_harness.benchmark.pass_log import Kept
from attention_harness.benchmark.workloads import Workload
from attention_harness.commands import bench
from attention_harness.model.errors import HarnessError
from attention_harness.model.pass_records import Record
from attention_harness.model.run_facts import BenchmarkPlan, RunFacts
from attention_harness.store.layout import PASSES
from attention_harness.store.writer import write_document

PLAN = BenchmarkPlan(("eager",), ("w0",), 5, extend=False, baseline="eager", seed=0, time_per_arm_s=0.1)
CASES = [f"dot_product-B1H{heads}Hk{heads}Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous" for heads in (1, 2)]
WORKLOADS = [Workload(f"w{place}", "made up", case) for place, case in enumerate(CASES)]


class Machine:
    """Stands in for the processes: each call of an arm takes the number of its pass; it dies where it is told to."""

    def __init__(self, dies_at: tuple[int, int] | None = None) -> None:
        self.dies_at, self.asked = dies_at, []

    def run_pass(self, plan: dict[str, Any], notice: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
        """Write what a pass would."""
        number = int(plan["seed"].split("/")[1])
        self.asked.append((number, [cell["cell"] for cell in plan["cells"]]))
        record = {"event": "samples", "prepare_s": 0.0, "first_call_s": 0.1, "calls": 1, "one_thread": True}
        record |= {"peak_bytes": None, "faults": 0.0}
        for place, cell in enumerate(plan["cells"]):
            for arm in cell["arms"]:
                seconds = (number + 1) * (1.0 if arm != "torch_sdpa" else 0.5)
                times = [seconds] * 15
                notice(record | {"cell": cell["cell"], "arm": arm, "wall_s": times, "cpu_s": times})
                if self.dies_at == (number, place):
                    raise KeyboardInterrupt
            notice({"event": "end", "cell": cell["cell"]})
        return []


def resumed(monkeypatch: pytest.MonkeyPatch, machine: Machine, directory: Path, **further: Any) -> list[Any]:
    """Run or go on with a campaign of three passes over two cells."""
    monkeypatch.setattr(campaign, "run_pass", machine.run_pass)
    known = registry.implementations()
    quiet: dict[str, Any] = {"gate": lambda *_: "", "progress": lambda *_: None}
    return list(campaign.run([known["torch_sdpa"]], WORKLOADS, passes=3, kept=Kept(directory), **quiet, **further))


@pytest.mark.parametrize("dies_at", [(0, 0), (1, 0), (1, 1), (2, 1)])
def test_what_is_there_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dies_at: tuple[int, int]
) -> None:
    """After a kill in any cell of any pass, the measurements are those of a run that nobody disturbed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = resumed(monkeypatch, Machine(), whole)
    with pytest.raises(KeyboardInterrupt):
        resumed(monkeypatch, Machine(dies_at), killed)
    machine = Machine()

    assert expected == resumed(monkeypatch, machine, killed)
    left = [(n, [c for place, c in enumerate(CASES) if (n, place) >= dies_at]) for n in range(dies_at[0], 3)]
    assert [(n, found) for n, found in left if found] == machine.asked


def test_no_time_is_left_after_a_resume_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Passes that are kept are read at once, and further ones take what a pass is expected to take."""

    class Open(Machine):
        """Its ratios differ from pass to pass, so that every cell is open."""

        def run_pass(self, plan: dict[str, Any], notice: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
            number = int(plan["seed"].split("/")[1])

            def uneven(record: dict[str, Any]) -> None:
                factor = 1 + number if record.get("arm") == "torch_sdpa" else 1
                notice(
                    record
                    | {name: [factor * t for t in record[name]] for name in ("wall_s", "cpu_s") if name in record}
                )

            return super().run_pass(plan, uneven)

    machine = Open()
    resumed(monkeypatch, machine, tmp_path)
    assert 3 == len(machine.asked)
    for cell_s, further in ((10.0, [1, 1, 1]), (100.0, []), (0.01, [2, 2, 2])):
        again = Open()
        rest = tmp_path / str(cell_s)
        rest.mkdir()
        (rest / PASSES).write_bytes((tmp_path / PASSES).read_bytes())
        until = time.monotonic() + 59
        rows = resumed(monkeypatch, again, rest, extend=True, until=until, cell_s=cell_s)
        assert further == [len(found) for _, found in again.asked]
        told = [row.reason for row in rows if row.implementation == "torch_sdpa"]
        assert (2 - max(further, default=0)) == sum("not extended: no time was left" in reason for reason in told)


def test_what_a_real_pass_writes_is_read_again(tmp_path: Path) -> None:
    """The types allow every kind of record, with all fields that this machine fills."""
    kept = Kept(tmp_path)
    cell = {
        "cell": CASES[0],
        "case": CASES[0],
        "direction": "forward",
        "arms": ["eager", "absent", "eager#A/A control"],
    }
    plan = {"cells": [cell], "threads": 1, "time_per_arm": 0, "rounds": 15, "load": [], "seed": "0", "peak": True}
    worker.run_pass(plan | {"ceilings": "start"}, lambda record: kept.add(0, 1, record))
    [sample, *_] = kept.events("samples")
    kept.add(1, 1, sample | {"cut": [0, 14]})  # on a quiet machine no sample was cut
    ceiling = {"when": "end", "kind": "copy in L2", "dtype": "bytes", "wall": 1.0, "cpu": None}
    kept.add(1, 1, {"event": "ceiling", "caches": {"L2": 2**21}, **ceiling})  # not every kernel tells its caches

    kinds = {kind.__struct_config__.tag for kind in get_args(Record)}
    assert kinds == {record["event"] for record in kept.records}
    assert {"cut", "peak_bytes", "one_thread"} < set(sample)
    read = Kept(tmp_path).records
    assert len(kept.records) == len(read)
    for written, found in zip(kept.records, read):
        written = json.loads(json.dumps(written))
        assert written | json.loads(json.dumps(found)) == written  # what says nothing is left out
        assert not any(value for name, value in written.items() if name not in found)


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    """As of every file of lines: it is said, and what comes after it begins on a line of its own."""
    kept = Kept(tmp_path)
    write_document(tmp_path / "run.json", RunFacts())
    kept.add(0, 1, {"event": "ready"})
    with (tmp_path / PASSES).open("a") as file:
        file.write('{"event": "sam')
    repaired = store.Writer.add_to(tmp_path).repair()
    again = Kept(tmp_path)
    again.add(1, 1, {"event": "end"})

    lines = (tmp_path / PASSES).read_text().splitlines()
    assert f"{PASSES}: dropped 14 bytes" in repaired
    assert [{"event": "ready", "pass": 0, "threads": 1}] == again.of(0, 1)
    assert ["ready", "end"] == [json.loads(line)["event"] for line in lines]


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    """With its number and what to do."""
    (tmp_path / PASSES).write_text('{"event": "ready", "pass": 0, "threads": 1}\n{"event": "tea"}\n')
    with pytest.raises(HarnessError, match=r"passes\.jsonl, line 2: not a record of a pass: .*; begin a new run"):
        Kept(tmp_path)


def test_another_plan_is_not_gone_on_with() -> None:
    """Its passes would be of other cells: the difference is named, with the command to use."""

    class Writer:
        directory, facts = (
            Path("run"),
            RunFacts(bench=PLAN, command="python -m attention_harness bench"),
        )

    with pytest.raises(HarnessError, match=r"another plan \(seed\).*python -m attention_harness bench"):
        bench._same_plan(Writer(), replace(PLAN, seed=1))  # type: ignore[arg-type]
