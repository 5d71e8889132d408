"""Runs made by hand, for the report to tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_harness import registry
from attention_harness.commands.run_setup import mechanism_facts
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment, Heatmap, RunFacts
from attention_harness.model.verdict import NOT_CHECKED, Status, Verdict
from attention_harness.store import Run

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float32-plain-ordinary-contiguous"


@pytest.fixture
def verdict() -> Callable[..., Verdict]:
    """Return a maker of verdicts on cosine; each call without a case asks of a new one."""
    made = 0

    def make(status: Status = Status.PASS, implementation: str = "eager", **facts: Any) -> Verdict:
        nonlocal made
        made += 1
        passed = status in (Status.PASS, Status.UNEXPECTED_PASS)
        given = {
            "mechanism": "cosine",
            "case": CASE.removesuffix("0") + str(made),
            "check": "accuracy",
            "error_ratio": None if status in NOT_CHECKED else 0.25 if passed else 3.0,
            "reason": "" if passed else "because",
        }
        return Verdict(implementation=implementation, status=status, **given | facts)

    return make


@pytest.fixture
def measurement() -> Callable[..., Measurement]:
    """Return a maker of measurements of a workload of cosine, against eager unless said otherwise."""

    def make(implementation: str = "eager", status: str = "measured", **facts: Any) -> Measurement:
        given: dict[str, Any] = {"mechanism": "cosine", "workload": "small", "case": CASE, "threads": 1}
        if status == "measured":
            given |= {
                "calls_per_sample": 1,
                "wall_s": ((0.002, 0.003), (0.002, 0.002)),
                "prepare_s": (0.1, 0.2),
                "first_call_s": 0.5,
                "peak_bytes": 2048,
                "baseline": "eager",
                "clock": "wall",
                "ratio": 1.0,
                "answer": "baseline",
            }
            if implementation != "eager":
                given |= {"ratio": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "answer": "faster"}
        return Measurement(implementation, status=status, **given | facts)

    return make


@pytest.fixture
def run() -> Callable[..., Run]:
    """Return a maker of runs that are whole unless the facts say otherwise."""

    def make(
        verdicts: tuple[Verdict, ...] | list[Verdict] = (),
        measurements: tuple[Measurement, ...] | list[Measurement] = (),
        heatmaps: dict[str, tuple[Heatmap, ...]] | None = None,
        **facts: Any,
    ) -> Run:
        whole = {
            "command": "python -m attention_harness check",
            "started": "2026-01-02T03:04:05+00:00",
            "finished": "2026-01-02T03:05:05+00:00",
            "tier": "quick",
            "planned": len(verdicts),
            "environment": Environment(python="3.11", memory_bytes=2**30, packages={"numpy": "2.0"}),
            "mechanisms": mechanism_facts(registry.mechanisms()),
        }
        return Run(Path("run"), RunFacts(**whole | facts), tuple(verdicts), tuple(measurements), heatmaps or {})

    return make
