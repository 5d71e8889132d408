"""The problem that the arms of a cell share, and an implementation as an arm: prepared, warmed, sampled."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from attention_harness.benchmark.rotation import Rotation
from attention_harness.benchmark.timing import Call, Clock, Sample, Warmed
from attention_harness.benchmark.timing_cuda import Cold, Cuda
from attention_harness.benchmark.timing_host import Host
from attention_harness.cases import inputs
from attention_harness.cases.parts import parts_of, split
from attention_harness.model.case import Case
from attention_harness.registry import Implementation, mechanisms

if TYPE_CHECKING:
    from torch import Tensor

AA_CONTROL = "#A/A control"
"""Ends the name of the baseline's second copy: prepared by itself, it differs in all but what it computes."""


def clock_of(device: str) -> Clock:
    """Return the clock of a device."""
    return Host() if device == "cpu" else Cuda()


class Problem:
    """A case's tensors in a direction. Where the backward pass is timed too, they are leaves that require gradients.

    The gradient runs through the output alone, by a fixed upstream one, as in `attention_harness.checks.gradients`.
    """

    def __init__(self, case: Case, direction: str = "forward") -> None:
        self.case, self.forward_only = case, direction == "forward"
        whole = inputs.tensors(case)
        self.parts = parts_of(case, whole)
        self.tensors: dict[str, Tensor] = split(case, whole, self.parts)
        self._rotation: Rotation | None = None
        if self.forward_only:
            return
        import torch

        leaves = {n: t.detach().requires_grad_() for n, t in self.tensors.items() if t.is_floating_point()}
        self.tensors |= leaves
        shape = inputs.shape_of(mechanisms()[case.mechanism].output, case.sizes)
        upstream = torch.from_numpy(inputs.drawn(case, "upstream", shape))
        self.upstream = upstream.to(getattr(torch, case.format.torch)).to(case.device)

    @property
    def rotation(self) -> Rotation:
        """The sets that all arms' timed calls meet; of the inputs, parameters and options keep their numbers."""
        if self._rotation is None:
            declared = mechanisms()[self.case.mechanism].inputs
            fixed = {one.name for one in declared if one.parameter} | set(inputs.option_tensors(self.case))
            fresh = frozenset(self.tensors.keys() - fixed)
            self._rotation = Rotation(self.tensors, fresh, self.case.fingerprint)
        return self._rotation

    def call_of(self, prepared: Call) -> Call:
        """Return the call that is timed: an implementation's own, or one that brings every leaf's gradient as well."""
        if self.forward_only:
            return prepared
        import torch

        upstream = self.upstream

        def forward_backward(**tensors: Tensor) -> Any:
            result = prepared(**tensors)
            output = result[0] if isinstance(result, tuple) else result
            leaves = [tensor for tensor in tensors.values() if tensor.requires_grad]
            return torch.autograd.grad(output, leaves, upstream, allow_unused=True)

        return forward_backward


class Arm:
    """An implementation that is prepared for a problem, which it shares with the other arms, and was called once."""

    def __init__(self, implementation: Implementation, problem: Problem) -> None:
        self.implementation, self.problem = implementation, problem
        self.clock, self.tensors, self.warmed = clock_of(problem.case.device), problem.tensors, Warmed()
        began = perf_counter()
        self.prepared = implementation.prepare(problem.case)
        self.call = problem.call_of(self.prepared)
        self.prepare_s = perf_counter() - began
        self.first_call_s = self.clock.once(self.call, self.tensors)
        self._cold: Cold | None = None

    def warm(self) -> None:
        """Call it until it is warm, and note what it showed."""
        warmed = self.clock.warm(self._call_in_turn, {})
        self.warmed = replace(warmed, calls=min(warmed.calls, len(self.problem.rotation.sets)))

    def sample(self) -> Sample:
        """Take one sample of calls on numbers that no call has met."""
        self.problem.rotation.refresh()
        return self.clock.sample(self._call_in_turn, {}, self.warmed.calls)

    def cold_sample(self) -> Sample:
        """Take one sample of a single call on such numbers, after the cache of the accelerator was flushed."""
        self._cold = self._cold or Cold()
        self.problem.rotation.refresh()
        return self._cold.sample(self._call_in_turn, {})

    def peak_bytes(self) -> int | None:
        """Return the memory that one call adds at its peak; None where it cannot be read."""
        return self.clock.peak_bytes(self.call, self.tensors)

    def _call_in_turn(self) -> None:
        self.call(**self.problem.rotation.following())
