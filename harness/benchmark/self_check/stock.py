"""pytest-benchmark as it comes, on the same functions: one test after the other in one process, default calibration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_harness.model.errors import HarnessError

_TEST = """\
from pathlib import Path

import pytest
import torch

from attention_harness import registry
from attention_harness.cases import ids, inputs

torch.set_num_threads(1)
FOUND = registry.implementations([Path(path) for path in {load!r}])


@pytest.mark.parametrize("case", {cases!r})
@pytest.mark.parametrize("arm", {arms!r})  # varies first: what is compared runs side by side
def test_call(benchmark, case, arm):
    case = ids.parse(case)
    tensors = inputs.tensors(case)
    benchmark(FOUND[arm].prepare(case), **tensors)
"""


def without_pytest(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what pytest and pytest-xdist set: below a worker the plugin times nothing."""
    return {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}


def timed(folder: Path, load: Sequence[Path], cases: Sequence[str], arms: Sequence[str]) -> dict[tuple[str, str], Any]:
    """Return (case, arm) -> pytest-benchmark's statistics in seconds, from one run with its default settings."""
    test, stored, settings = folder / "test_stock.py", folder / "stock.json", folder / "stock.ini"
    paths = [str(path.resolve()) for path in load]
    test.write_text(_TEST.format(load=paths, cases=list(cases), arms=list(arms)), encoding="utf-8")
    settings.write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(settings), "-p", "no:cacheprovider"]
    command += ["-p", "pytest_benchmark.plugin", f"--benchmark-json={stored}", str(test)]
    variables = {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = without_pytest(os.environ) | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise HarnessError(f"self-check: pytest-benchmark's own run ended with status {done.returncode}: {last}")
    document = json.loads(stored.read_text(encoding="utf-8"))
    return {(one["params"]["case"], one["params"]["arm"]): one["stats"] for one in document["benchmarks"]}
