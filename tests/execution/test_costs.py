"""The shares of a run's costs are of the time that all its workers had."""

from __future__ import annotations

import time

from attention_harness.execution.runner import Costs, sentence


def test_shares_are_of_all_workers_time(monkeypatch):
    """Two workers for 10 seconds have 20; what nobody accounts for was starting and waiting."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: 7.0)
    costs = Costs(2)
    costs.add({"implementation": 8.0, "reference": 3.0})
    costs.add({"implementation": 2.0, "harness": 1.0})
    costs.checks = 50
    now[0] += 10
    summary = costs.summary()
    assert {"implementation": 0.5, "reference": 0.15, "harness": 0.05} == summary.shares
    text = sentence(summary)
    assert text.startswith("time: 10 s on 2 workers: implementations 50%, reference and error bounds 15%, ")
    assert text.endswith("this harness 5%, starting and waiting 30%; 5 checks/s")


def test_the_diagnosis_is_part_of_the_wall_time(monkeypatch):
    """What follows the last check counts on one worker; the checks per second are of the time of the checks."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: 7.0)
    costs = Costs(2)
    costs.add({"implementation": 8.0})
    costs.checks = 50
    now[0] += 10
    costs.checked = now[0]
    now[0] += 10
    text = sentence(costs.summary())
    assert text.startswith("time: 20 s on 2 workers: implementations 20%, ")
    assert text.endswith("this harness 0%, diagnosis 25%, starting and waiting 55%; 5 checks/s")
