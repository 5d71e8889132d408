"""The records of passes are kept line by line, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from attention_harness import registry, store
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.manager import run_pass
from attention_harness.benchmark.worker import CellPlan, PassPlan
from attention_harness.commands import bench
from attention_harness.commands.run_setup import digest_of
from attention_harness.model.errors import HarnessError
from attention_harness.model.pass_records import Ceiling, Ended, Failed, Record, Sampled
from attention_harness.model.run_facts import RunFacts
from attention_harness.store.layout import PASSES
from attention_harness.store.reading import pass_records
from tests.benchmark.made import SMALL, WORKLOADS


@pytest.fixture
def writer(tmp_path: Path) -> store.Writer:
    """Return the writer of a run directory."""
    return store.Writer.start(tmp_path, RunFacts())


def test_what_a_real_pass_writes_is_read_again(tmp_path: Path, writer: store.Writer) -> None:
    """Every kind of record, with all fields that this machine fills."""
    facts: dict[str, Any] = {"number": 0, "threads": 1, "seed": "0", "time_per_arm_s": 0.0, "rounds": 15}
    cells = (CellPlan(SMALL, SMALL, "forward", ("eager", "absent", "eager" + AA_CONTROL)),)
    records: list[Record] = []
    run_pass(PassPlan(cells=cells, memory=2**34, peak=True, ceilings=True, **facts), records.append)
    sample = next(record for record in records if isinstance(record, Sampled))
    records.append(replace(sample, number=1, cut=(0, 14)))  # on a quiet machine no sample was cut
    ceiling = {"when": "end", "kind": "copy in L2", "dtype": "bytes", "wall": 1.0, "cpu": None}
    records.append(Ceiling(number=1, threads=1, caches={"L2": 2**21}, **ceiling))  # not every kernel says its caches
    for record in records:
        writer.add(record)

    assert set(get_args(Record)) == set(map(type, records))
    assert sample.peak_bytes is not None
    assert records == list(pass_records(tmp_path))
    places = {type(one): place for place, one in enumerate(records) if getattr(one, "cell", "") == SMALL}
    [own] = [place for place, one in enumerate(records) if isinstance(one, Ceiling) and one.when == "cell"]
    assert own < places[Ended]
    assert SMALL == records[own].cell  # type: ignore[union-attr]
    assert {"eager", "eager" + AA_CONTROL} == {one.arm for one in records if isinstance(one, Sampled)}


def test_ceilings_of_an_older_run_are_read(tmp_path: Path) -> None:
    """Those were of no cell, at the start and at the end."""
    line = '{"event": "ceiling", "pass": 0, "threads": 1, "when": "end", "kind": "tanh", "dtype": "float32", '
    (tmp_path / PASSES).write_text(line + '"wall": 2.0, "cpu": null}\n')
    [read] = pass_records(tmp_path)
    assert isinstance(read, Ceiling)
    assert ("end", "", "", "") == (read.when, read.cell, read.operation, read.reason)


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


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"passes": 3}, {"baseline": "torch_sdpa"}, {"threads": (2,)}, {"workloads": WORKLOADS[:1]}]
)
def test_another_plan_is_not_resumed(tmp_path: Path, other: dict[str, Any]) -> None:
    """Its passes would be of other cells, or of other rounds: the command to use is named."""
    known = registry.implementations()
    both = (known["eager"], known["torch_sdpa"])

    def facts(**changes: Any) -> RunFacts:
        campaign = Campaign(**{"implementations": both, "workloads": WORKLOADS} | changes)
        return RunFacts(plan=digest_of(bench._plan(campaign, campaign.cells())), command="bench")

    store.Writer.start(tmp_path, facts()).close()
    with pytest.raises(HarnessError, match=r"holds another run: .*; resume with its own command: bench"):
        store.Writer.resume(tmp_path, facts(**other))
    store.Writer.resume(tmp_path, facts())[0].close()
