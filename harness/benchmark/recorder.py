"""Measurements -> the document that pytest-benchmark writes, so that `pytest-benchmark compare` and others read it.

Its statistics describe one arm by itself; milliseconds of two runs do not compare (`BENCHMARKING` section 2.6). What
compares - ratio, interval, answer - stands in each entry's `extra_info`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from attention_harness.execution import machine
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment, Processor

_SAMPLES = ("wall_s", "cpu_s")


def document(measurements: Iterable[Measurement]) -> dict[str, Any]:
    """Return the document of measurements that were made on this machine."""
    rows, environment = list(measurements), machine.environment()
    git = environment.git
    return {
        "machine_info": machine_info(environment),
        "commit_info": {"id": git.commit if git else "unversioned", "dirty": bool(git and git.dirty), "project": ""},
        "benchmarks": [_entry(row) for row in rows if row.status == "measured"],
        "datetime": datetime.now(UTC).isoformat(),
        "version": importlib.metadata.version("pytest-benchmark"),
        "attention_harness": summary(rows),
    }


def machine_info(environment: Environment) -> dict[str, Any]:
    """Return stable facts alone: where they differ, every comparison prints a warning."""
    processor = environment.processor or Processor("", "")
    return {
        "node": "",  # a container's name says nothing about its machine
        "machine": processor.architecture,
        "cpu": {"brand_raw": processor.model, "count": environment.cores, "flags": list(processor.extensions)},
        "system": environment.platform,
        "python_version": environment.python,
        "packages": environment.packages,
    }


def summary(rows: Iterable[Measurement]) -> dict[str, Any]:
    """Return what has no place among the benchmarks: what was not measured, and why."""
    return {
        "schema": 1,
        "not_measured": [
            params(row) | {"status": row.status, "reason": row.reason} for row in rows if row.status != "measured"
        ],
    }


def params(row: Measurement) -> dict[str, Any]:
    """Return what tells a measurement from the others of its run, and is the same in the next: the parameters."""
    names = {"workload": row.workload, "dtype": row.dtype, "direction": row.direction, "threads": row.threads}
    return names | {"device": row.case.partition("@")[2] or "cpu", "implementation": row.implementation}


def group(row: Measurement) -> str:
    """Return the name of its cell, in which times stand beside each other."""
    _, at, device = row.case.partition("@")
    return f"{row.workload}-{row.dtype}-{row.direction}-{row.threads}{at}{device}"


def extra_info(row: Measurement) -> dict[str, Any]:
    """Return everything that a measurement states, but for its samples."""
    return {name: getattr(row, name) for name in row.__struct_fields__ if name not in _SAMPLES}


def _entry(row: Measurement) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats  # takes a tenth of a second

    stats = Stats()
    for samples in row.wall_s:
        for seconds in samples:
            stats.update(seconds)
    param = f"{group(row)}-{row.implementation}"
    name = f"test_matrix[{param}]"
    return {
        "group": group(row),
        "name": name,
        "fullname": f"tests/benchmarks/test_matrix.py::{name}",
        "params": params(row),
        "param": param,
        "extra_info": extra_info(row),
        "options": {"timer": "perf_counter", "disable_gc": True},
        "stats": {**stats.as_dict(), "data": stats.data, "iterations": row.calls_per_sample},
    }
