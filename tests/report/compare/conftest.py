"""Runs that differ in what a test says, and in nothing else."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from attention_harness.execution import machine
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import ImplementationFacts, RunFacts
from attention_harness.model.verdict import Verdict
from attention_harness.store import Run

CASE = "dot_product-B1H2Hk2Lq32Lk32D16Dv16-float32-plain-ordinary-contiguous"


def verdict(check: str, status: str = "pass", error_ratio: float | None = 0.2, **other: Any) -> Verdict:
    """Return a verdict of `kernel`."""
    reason = "" if status == "pass" else "because"
    error_ratio = error_ratio if status in ("pass", "fail") else None
    return Verdict("kernel", "dot_product", CASE, check, status, error_ratio, reason=reason, **other)  # type: ignore[arg-type]


def measured(ratio: float, half: float = 0.01, *, name: str = "kernel", **other: Any) -> Measurement:
    """Return a measurement with a ratio to `eager` and the half width of its log."""
    facts: dict[str, Any] = {
        "wall_s": ((1e-3,) * 3,) * 5,
        "cpu_s": ((1e-3,) * 3,) * 5,
        "calls_per_sample": 1,
        "minor_faults_per_call": 0.0,
        "preempted": 0.0,
        "peak_bytes": 32 << 20,
        "baseline": "eager",
        "ratio": ratio,
        "low": ratio * math.exp(-half),
        "high": ratio * math.exp(half),
        "level": 0.95,
        "clock": "wall",
        "answer": "inconclusive",
        "control_ratio": 1.0,
    }
    return Measurement(name, "dot_product", "small", CASE, 1, "measured", **facts | other)


environment = functools.cache(machine.environment)  # it asks git


def run_of(*items: Verdict | Measurement, **facts: Any) -> Run:
    """Return a finished run of this machine."""
    about = {name: ImplementationFacts(sha256=name) for name in ("kernel", "eager")}
    known = {"environment": environment(), "finished": "now", "implementations": about, "command": "check"}
    verdicts = tuple(item for item in items if isinstance(item, Verdict))
    return Run(Path("run"), RunFacts(**known | facts), verdicts, tuple(i for i in items if isinstance(i, Measurement)))
