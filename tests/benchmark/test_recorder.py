"""pytest-benchmark is the recorder: its own commands read what we write, and the replayed samples are ours."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from attention_harness import store
from attention_harness.benchmark.recorder import document
from tests.report.compare.conftest import measured, run_of

ROOT = Path(__file__).parents[2]
SAMPLES = tuple(tuple(1e-3 * (1 + n / 7 + p / 11) for n in range(5)) for p in range(3))


def rows(scale: float):
    """Return measurements of two arms, their times scaled."""
    scaled = tuple(tuple(scale * seconds for seconds in one) for one in SAMPLES)
    facts = {"wall_s": scaled, "cpu_s": scaled}
    base = measured(1.0, name="eager", answer="baseline", low=None, high=None, level=None, **facts)
    return [base, measured(1.1, name="kernel", **facts)]


@pytest.fixture
def documents(tmp_path):
    """Return two files, the second one twice as slow."""
    paths = [tmp_path / "A.json", tmp_path / "B.json"]
    for path, scale in zip(paths, (1.0, 2.0)):
        path.write_text(json.dumps(document(rows(scale)), allow_nan=False))
    return paths


def benchmark(folder: Path, *arguments: object) -> str:
    """Run the command `pytest-benchmark`."""
    command = [sys.executable, "-m", "pytest_benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


def test_compare_lists_both_files_and_writes_csv(documents, tmp_path):
    """Every arm of both runs stands in the table and in the CSV, with the median of all samples."""
    shown = benchmark(tmp_path, "compare", *documents, "--group-by=name", "--csv=out", "--columns=median,min,rounds")
    assert "test_matrix[small-float32-forward-1-kernel]" in shown
    with (tmp_path / "out.csv").open() as lines:
        found = {(Path(row["name"]).name, float(row["median"]), int(row["rounds"])) for row in csv.DictReader(lines)}
    every = sorted(seconds for one in SAMPLES for seconds in one)
    medians = {round(median, 12) for _, median, _ in found}
    assert {round(every[7], 12), round(2 * every[7], 12)} == medians
    assert {15} == {rounds for _, _, rounds in found}
    assert 4 == len(found)


def test_every_cell_has_names_of_its_own():
    """A workload of two dtypes, directions and numbers of threads is eight groups, and nothing shares a name."""
    cells = itertools.product(("float32", "bfloat16"), ("forward", "forward_backward"), (1, 2))
    every = [
        structs.replace(row, case=row.case.replace("float32", dtype), direction=direction, threads=threads)
        for dtype, direction, threads in cells
        for row in rows(1.0)
    ]
    entries = document(every)["benchmarks"]
    assert (16, 8) == (len({entry["name"] for entry in entries}), len({entry["group"] for entry in entries}))
    assert 16 == len({tuple(entry["params"].values()) for entry in entries})
    there = [structs.replace(row, case=f"{row.case}@cuda") for row in every]
    assert 32 == len({entry["name"] for entry in document(every + there)["benchmarks"]})


def test_a_comparison_prints_no_warning_about_the_machine(documents, tmp_path):
    """What is written of it is stable: two runs of one machine agree."""
    shown = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", *map(str, documents)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "different" not in shown.stderr.lower()


@pytest.mark.skipif(importlib.util.find_spec("pygal") is None, reason="needs pygal: pytest-benchmark[histogram]")
def test_the_histogram_is_drawn(documents, tmp_path):
    """One picture for each name, which holds both runs."""
    benchmark(tmp_path, "compare", *documents, "--group-by=name", "--histogram=drawn/times")
    pictures = [path.read_text() for path in (tmp_path / "drawn").glob("*.svg")]
    assert 2 == len(pictures)
    assert all(picture.count("<svg") >= 1 for picture in pictures)


def test_the_replay_clock_hands_our_samples_to_the_plugin(tmp_path):
    """The matrix under pytest with `--benchmark-enable` records what a run directory measured, number by number."""
    given = rows(1.0)
    run = run_of(*given)
    writer = store.Writer.start(tmp_path / "run", run.facts)
    writer.add(*run.measurements)
    kept = tmp_path / "kept.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/benchmarks/test_matrix.py",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    command += ["--benchmark-enable", f"--benchmark-json={kept}", f"--measurements={tmp_path / 'run'}"]
    # without what pytest-xdist sets: below a worker the plugin times nothing
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    entries = {one["params"]["implementation"]: one for one in json.loads(kept.read_text())["benchmarks"]}
    assert {"eager", "kernel"} == set(entries)
    for row in given:
        entry = entries[row.implementation]
        samples = [seconds for one in row.wall_s for seconds in one]
        assert samples == pytest.approx(entry["stats"]["data"], rel=1e-12)
        assert (row.ratio, row.answer) == (entry["extra_info"]["ratio"], entry["extra_info"]["answer"])
        assert "replay_clock" in entry["options"]["timer"]
