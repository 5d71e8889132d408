"""An implementation as an arm of a cell: prepared for its problem, warmed, sampled, its memory read."""

from __future__ import annotations

import time

from attention_harness.benchmark.problem import Problem
from attention_harness.benchmark.timing import Clock, Sample, Warmed
from attention_harness.benchmark.timing_cuda import Cold, Cuda
from attention_harness.benchmark.timing_host import Host
from attention_harness.registry import Implementation

AA_CONTROL = "#A/A control"
"""Ends the name of the baseline's second copy: prepared by itself, it differs in all but what it computes."""


def clock_of(device: str) -> Clock:
    """Return the clock of a device."""
    return Host() if device == "cpu" else Cuda()


class Arm:
    """An implementation that is prepared for a problem, which it shares with the other arms, and was called once."""

    def __init__(self, implementation: Implementation, problem: Problem) -> None:
        self.clock, self.tensors, self.warmed = clock_of(problem.case.device), problem.tensors, Warmed()
        began = time.perf_counter()
        self.call = problem.call_of(implementation.prepare(problem.case))
        self.prepare_s = time.perf_counter() - began
        self.first_call_s = self.clock.once(self.call, self.tensors)
        self._cold: Cold | None = None

    def warm(self) -> None:
        """Call it until it is warm, and note what it showed."""
        self.warmed = self.clock.warm(self.call, self.tensors)

    def sample(self) -> Sample:
        """Take one sample."""
        return self.clock.sample(self.call, self.tensors, self.warmed.calls)

    def cold_sample(self) -> Sample:
        """Take one sample of a single call, after the cache of the accelerator was flushed."""
        self._cold = self._cold or Cold()
        return self._cold.sample(self.call, self.tensors)

    def peak_bytes(self) -> int | None:
        """Return the memory that one call adds at its peak; None where it cannot be read."""
        return self.clock.peak_bytes(self.call, self.tensors)
