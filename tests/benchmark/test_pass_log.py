"""The records of passes are kept line by line, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from attention_harness import store
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.manager import run_pass
from attention_harness.benchmark.pass_log import PassLog
from attention_harness.benchmark.pass_plan import CellPlan, PassPlan
from attention_harness.commands import bench
from attention_harness.model.errors import HarnessError
from attention_harness.model.pass_records import Ceiling, Ended, Failed, Ready, Record, Sampled
from attention_harness.model.run_facts import BenchmarkPlan, RunFacts
from attention_harness.store.layout import PASSES
from attention_harness.store.writer import write_document
from tests.benchmark.made import SMALL

PLAN = BenchmarkPlan(("eager",), ("w0",), 5, extend=False, baseline="eager", seed=0, time_per_arm_s=0.1)


def test_what_a_real_pass_writes_is_read_again(tmp_path: Path) -> None:
    """Every kind of record, with all fields that this machine fills."""
    log = PassLog(tmp_path)
    facts: dict[str, Any] = {"number": 0, "threads": 1, "seed": "0", "time_per_arm_s": 0.0, "rounds": 15}
    cells = (CellPlan(SMALL, SMALL, "forward", ("eager", "absent", "eager" + AA_CONTROL)),)
    run_pass(PassPlan(cells=cells, memory=2**34, peak=True, ceilings="start", **facts), log.add)
    sample = log.of_kind(Sampled)[0]
    log.add(replace(sample, number=1, cut=(0, 14)))  # on a quiet machine no sample was cut
    ceiling = {"when": "end", "kind": "copy in L2", "dtype": "bytes", "wall": 1.0, "cpu": None}
    log.add(Ceiling(number=1, threads=1, caches={"L2": 2**21}, **ceiling))  # not every kernel says its caches

    assert set(get_args(Record)) == set(map(type, log.records))
    assert sample.peak_bytes is not None
    assert log.records == PassLog(tmp_path).records
    assert log.records[:-2] == log.of_pass(0, 1)
    assert [] == PassLog(tmp_path, resume=False).records


def test_a_reason_that_no_file_can_hold_is_written(tmp_path: Path) -> None:
    """Half a surrogate pair in an exception's text costs that character, and not the benchmark."""
    PassLog(tmp_path).add(Failed(number=0, threads=1, cell="a", arm="b", reason="lone \ud800"))
    [failed] = PassLog(tmp_path).of_kind(Failed)
    assert "lone \ufffd" == failed.reason


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    """As of every file of lines: it is said, and what comes after it begins on a line of its own."""
    write_document(tmp_path / "run.json", RunFacts())
    PassLog(tmp_path).add(Ready(number=0, threads=1))
    with (tmp_path / PASSES).open("a") as file:
        file.write('{"event": "sam')
    repaired = store.Writer.add_to(tmp_path).repair()
    again = PassLog(tmp_path)
    assert [Ready(number=0, threads=1)] == again.of_pass(0, 1)
    again.add(Ended(number=1, threads=1, cell="a"))

    lines = (tmp_path / PASSES).read_text().splitlines()
    assert f"{PASSES}: dropped 14 bytes" in repaired
    assert ["ready", "end"] == [json.loads(line)["event"] for line in lines]


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    """With its number and what to do."""
    (tmp_path / PASSES).write_text('{"event": "ready", "pass": 0, "threads": 1}\n{"event": "tea"}\n')
    with pytest.raises(HarnessError, match=r"passes\.jsonl, line 2: not a record of a pass: .*; begin a new run"):
        PassLog(tmp_path)


def test_another_plan_is_not_resumed() -> None:
    """Its passes would be of other cells: the difference is named, with the command to use."""

    class Writer:
        directory, facts = Path("run"), RunFacts(bench=PLAN, command="python -m attention_harness bench")

    with pytest.raises(HarnessError, match=r"another plan \(seed\).*python -m attention_harness bench"):
        bench._need_same_plan(Writer(), replace(PLAN, seed=1))  # type: ignore[arg-type]
