"""A first look at an implementation on a case, in a process of its own: does it answer, in what time and memory."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from attention_harness.benchmark.arms import Arm, Problem
from attention_harness.cases.ids import parse
from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.worker import implementation
from attention_harness.model.case import Case
from attention_harness.model.errors import describe


@dataclass(frozen=True, slots=True)
class Look:
    """One warm call: its seconds and the bytes that it adds at its peak (None: not known), or why there is none."""

    seconds: float = 0.0
    peak_bytes: int | None = None
    reason: str = ""


def look(name: str, load: tuple[Path, ...], case: Case, direction: str, threads: int, limit_s: float) -> Look:
    """Return a first look; a process that dies or does not answer gives the reason."""
    try:
        found: Look = pool.run_alone(_look, name, load, case.id, direction, threads, seconds=limit_s)
        return found
    except Lost as lost:
        return Look(reason=f"{lost.status}: {lost}")
    except Exception as error:  # raised by the implementation
        return Look(reason=describe(error))


def _look(name: str, load: tuple[Path, ...], case_id: str, direction: str, threads: int) -> Look:
    import torch

    torch.set_num_threads(threads)
    arm = Arm(implementation(name, load), Problem(parse(case_id), direction))
    seconds = min(arm.clock.once(arm.call, arm.tensors) for _ in range(2))
    gc.collect()
    return Look(seconds, arm.peak_bytes())
