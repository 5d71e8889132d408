"""`tools/pytest_benchmark_rates.py`: the plugin times the copies by itself, and its figures are counted."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from attention_harness.benchmark import self_check
from attention_harness.benchmark.self_check import FIRST, PLANTED, SAME


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the tool's module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module("pytest_benchmark_rates")


def test_the_plugin_itself_times_the_copies(tool, tmp_path, monkeypatch):
    """Its own run with its own defaults, below pytest-xdist too: 5 rounds or more, and its statistics."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # with which the plugin times nothing
    monkeypatch.setenv("PYTEST_ADDOPTS", "--benchmark-disable")
    case = self_check.workloads()[0].case
    load = self_check.write(tmp_path, {FIRST: {}})
    found = tool.timed(tmp_path, load, [case], [FIRST])
    assert {(case, FIRST)} == set(found)
    statistics = found[case, FIRST]
    assert statistics["rounds"] >= 5
    assert 0 < statistics["min"] <= statistics["median"]


def test_figures_are_counted_by_their_distance(tool):
    """Either direction is an alarm for two copies; a plant is found only where it is slower."""
    apart = {"min": 1.04, "median": 1 / 1.06, "mean": 1.0}
    lines = tool.table([(SAME, apart), (PLANTED, apart)]).splitlines()[1:]
    assert [("min, 5%", "0", "0"), ("min, 3%", "1", "1"), ("median, 5%", "1", "0"), ("median, 3%", "1", "0")] == [
        (" ".join(words[1:3]), words[4], words[9]) for words in map(str.split, lines[:4])
    ]
    assert all("1 of 1" not in line for line in lines[4:])
