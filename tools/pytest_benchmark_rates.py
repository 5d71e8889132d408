"""Measure how often pytest-benchmark as it comes calls two copies different, and finds a planted slowdown of 5 %.

    python tools/pytest_benchmark_rates.py [--repetitions N]

The functions are those that `bench self-check` compares; run it in the same minutes. The plugin times one test after
the other in one process, with its default calibration; what is compared runs side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_harness.benchmark import self_check
from attention_harness.benchmark.self_check import FIRST, PLANTED, SAME, SECOND, SLOWER, wilson
from attention_harness.model.errors import HarnessError

STATISTICS = ("min", "median", "mean")
APART = (1.05, 1.03)  # ratios from which two figures count as different
PAIRS = {SAME: (FIRST, SECOND), PLANTED: (SECOND, SLOWER)}  # each two that run side by side

_TEST = """\
from pathlib import Path

import pytest
import torch

from attention_harness import registry
from attention_harness.cases import ids, inputs

torch.set_num_threads(1)
FOUND = registry.implementations([Path(path) for path in {load!r}])


@pytest.mark.parametrize("case", {cases!r})
@pytest.mark.parametrize("arm", {arms!r})  # varies first
def test_call(benchmark, case, arm):
    case = ids.parse(case)
    tensors = inputs.tensors(case)
    benchmark(FOUND[arm].prepare(case), **tensors)
"""


def timed(folder: Path, load: Sequence[Path], cases: Sequence[str], arms: Sequence[str]) -> dict[tuple[str, str], Any]:
    """Return (case, arm) -> pytest-benchmark's statistics in seconds, from one run with its default settings."""
    test, stored, settings = folder / "test_stock.py", folder / "stock.json", folder / "stock.ini"
    paths = [str(path.resolve()) for path in load]
    test.write_text(_TEST.format(load=paths, cases=list(cases), arms=list(arms)), encoding="utf-8")
    settings.write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(settings), "-p", "no:cacheprovider"]
    command += ["-p", "pytest_benchmark.plugin", f"--benchmark-json={stored}", str(test)]
    # Below a worker of pytest-xdist the plugin times nothing.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = inherited | {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise HarnessError(f"pytest-benchmark's own run ended with status {done.returncode}: {last}")
    document = json.loads(stored.read_text(encoding="utf-8"))
    return {(one["params"]["case"], one["params"]["arm"]): one["stats"] for one in document["benchmarks"]}


def ratios(found: Mapping[tuple[str, str], Any], cases: Iterable[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield, for each case and kind of pair, the kind and the ratio of the pair by statistic."""
    for case in cases:
        for kind, (one, other) in PAIRS.items():
            yield kind, {name: found[case, other][name] / found[case, one][name] for name in STATISTICS}


def table(pairs: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Return how often each statistic calls two copies different, in either direction, and the plant slower."""
    lines = [f"{'':32} {'A/A: called different':>26}  {'planted: found slower':>26}"]
    for name in STATISTICS:
        for limit in APART:
            cells = []
            for kind in PAIRS:
                values = [ratio[name] for of, ratio in pairs if of == kind]
                hits = sum(value > limit or (kind == SAME and 1 / value > limit) for value in values)
                low, high = wilson(hits, len(values))
                cells.append(f"{hits} of {len(values)} [{low:.1%}, {high:.1%}]")
            lines.append(f"{f'pytest-benchmark {name}, {limit - 1:.0%} apart':32} {cells[0]:>26}  {cells[1]:>26}")
    return "\n".join(lines)


def main() -> int:
    """Plant, let the plugin time the copies, and print its rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=10)
    options = parser.parse_args()
    cases, pairs = [one.case for one in self_check.workloads()], list[tuple[str, Mapping[str, float]]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        turns = self_check.calibrated(folder, lambda *step: None)
        load = self_check.write(folder, {FIRST: {}, SECOND: {}, SLOWER: turns})
        for _ in range(options.repetitions):
            pairs += ratios(timed(folder, load, cases, (FIRST, SECOND, SLOWER)), cases)
    print(table(pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
