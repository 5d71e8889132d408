"""A first look at an implementation on a case, in a process of its own: does it answer, in what time and memory."""

from __future__ import annotations

import functools
import gc
import time
from dataclasses import dataclass
from pathlib import Path

from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.worker import implementation
from attention_harness.model.case import Case
from attention_harness.model.errors import describe


@dataclass(frozen=True, slots=True)
class Look:
    """One warm call: its seconds and the bytes that it adds at its peak (None: not known), or why there is none.

    inputs_s, prepare_s   what goes before: the inputs, and preparation with the first call
    """

    seconds: float = 0.0
    inputs_s: float = 0.0
    prepare_s: float = 0.0
    peak_bytes: int | None = None
    reason: str = ""


def look(name: str, load: tuple[Path, ...], case: Case, backward: bool, threads: int, seconds: float) -> Look:
    """Return a first look; a process that dies or does not answer gives the reason."""
    try:
        found: Look = pool.run_alone(_look, name, load, case.id, backward, threads, seconds=seconds)
        return found
    except Lost as gone:
        return Look(reason=f"{gone.status}: {gone}")
    except Exception as error:  # raised by the implementation
        return Look(reason=describe(error))


def _look(name: str, load: tuple[Path, ...], case_id: str, backward: bool, threads: int) -> Look:
    import torch

    from attention_harness.benchmark import timing
    from attention_harness.benchmark.backward import Both
    from attention_harness.cases import ids, inputs

    torch.set_num_threads(threads)
    began = time.perf_counter()
    case = ids.parse(case_id)
    tensors = inputs.tensors(case)
    inputs_s = time.perf_counter() - began
    call = implementation(name, load).prepare(case)
    call = Both(case, tensors).of(call) if backward else call
    timing.once(call, tensors, case.device)
    prepare_s = time.perf_counter() - began - inputs_s
    seconds = min(timing.once(call, tensors, case.device) for _ in range(2))
    gc.collect()
    return Look(seconds, inputs_s, prepare_s, timing.peak_bytes(functools.partial(call, **tensors), case.device)[0])
