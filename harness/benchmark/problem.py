"""What the arms of a cell share: a case's tensors, and how a forward call becomes the call that is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attention_harness.benchmark.timing import Call
from attention_harness.cases import inputs
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


class Problem:
    """A case's tensors in a direction. Where the backward pass is timed too, they are leaves that require gradients.

    The gradient runs through the output alone, by a fixed upstream one, as in `attention_harness.checks.gradients`.
    """

    def __init__(self, case: Case, direction: str = "forward") -> None:
        self.case, self.forward_only = case, direction == "forward"
        self.tensors: dict[str, Tensor] = dict(inputs.tensors(case))
        if self.forward_only:
            return
        import torch

        self.leaves = {n: t.detach().requires_grad_() for n, t in self.tensors.items() if t.is_floating_point()}
        self.tensors |= self.leaves
        shape = inputs.shape_of(mechanisms()[case.mechanism].output, case.sizes)
        upstream = torch.from_numpy(inputs.drawn(case, "upstream", shape))
        self.upstream = upstream.to(getattr(torch, case.format.torch)).to(case.device)

    def call_of(self, prepared: Call) -> Call:
        """Return the call that is timed: an implementation's own, or one that brings every leaf's gradient as well."""
        if self.forward_only:
            return prepared
        import torch

        leaves, upstream = list(self.leaves.values()), self.upstream

        def forward_backward(**tensors: Tensor) -> Any:
            result = prepared(**tensors)
            output = result[0] if isinstance(result, tuple) else result
            return torch.autograd.grad(output, leaves, upstream, allow_unused=True)

        return forward_backward
