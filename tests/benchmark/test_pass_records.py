"""The records of passes are kept line by line, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from attention_harness import store
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.manager import run_pass
from attention_harness.benchmark.worker import CellPlan, PassPlan
from attention_harness.commands import bench
from attention_harness.model.errors import HarnessError
from attention_harness.model.pass_records import Ceiling, Ended, Failed, Record, Sampled
from attention_harness.model.run_facts import BenchmarkPlan, RunFacts
from attention_harness.store.layout import PASSES
from attention_harness.store.reading import pass_records
from tests.benchmark.made import SMALL

PLAN = BenchmarkPlan(("eager",), ("w0",), 5, extend=False, baseline="eager", seed=0, time_per_arm_s=0.1)


@pytest.fixture
def writer(tmp_path: Path) -> store.Writer:
    """Return the writer of a run directory."""
    return store.Writer.start(tmp_path, RunFacts())


def test_what_a_real_pass_writes_is_read_again(tmp_path: Path, writer: store.Writer) -> None:
    """Every kind of record, with all fields that this machine fills."""
    facts: dict[str, Any] = {"number": 0, "threads": 1, "seed": "0", "time_per_arm_s": 0.0, "rounds": 15}
    cells = (CellPlan(SMALL, SMALL, "forward", ("eager", "absent", "eager" + AA_CONTROL)),)
    records: list[Record] = []
    run_pass(PassPlan(cells=cells, memory=2**34, peak=True, ceilings="start", **facts), records.append)
    sample = next(record for record in records if isinstance(record, Sampled))
    records.append(replace(sample, number=1, cut=(0, 14)))  # on a quiet machine no sample was cut
    ceiling = {"when": "end", "kind": "copy in L2", "dtype": "bytes", "wall": 1.0, "cpu": None}
    records.append(Ceiling(number=1, threads=1, caches={"L2": 2**21}, **ceiling))  # not every kernel says its caches
    for record in records:
        writer.add(record)

    assert set(get_args(Record)) == set(map(type, records))
    assert sample.peak_bytes is not None
    assert records == list(pass_records(tmp_path))


def test_a_reason_that_no_file_can_hold_is_written(tmp_path: Path, writer: store.Writer) -> None:
    """Half a surrogate pair in an exception's text costs that character, and not the benchmark."""
    writer.add(Failed(number=0, threads=1, cell="a", arm="b", reason="lone \ud800"))
    [failed] = pass_records(tmp_path)
    assert isinstance(failed, Failed)
    assert "lone \ufffd" == failed.reason


def test_half_a_line_is_cut_off(tmp_path: Path, writer: store.Writer) -> None:
    """As of every file of lines: it is said, and what comes after it begins on a line of its own."""
    first, second = (Ended(number=number, threads=1, cell="a") for number in range(2))
    writer.add(first)
    with (tmp_path / PASSES).open("a") as file:
        file.write('{"event": "sam')
    assert f"{PASSES}: dropped 14 bytes" in writer.repair()
    writer.add(second)
    assert [first, second] == list(pass_records(tmp_path))


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    """With its number and what to do."""
    line = '{"event": "end", "pass": 0, "threads": 1, "cell": "a"}'
    (tmp_path / PASSES).write_text(line + '\n{"event": "tea"}\n')
    with pytest.raises(HarnessError, match=r"passes\.jsonl, line 2: not a record of a pass: .*; begin a new run"):
        list(pass_records(tmp_path))


def test_another_plan_is_not_resumed() -> None:
    """Its passes would be of other cells: the difference is named, with the command to use."""

    class Writer:
        directory, facts = Path("run"), RunFacts(bench=PLAN, command="python -m attention_harness bench")

    with pytest.raises(HarnessError, match=r"another plan \(seed\).*python -m attention_harness bench"):
        bench._need_same_plan(Writer(), replace(PLAN, seed=1))  # type: ignore[arg-type]
