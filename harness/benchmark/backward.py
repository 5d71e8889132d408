"""Forward and backward as one call: every floating tensor's gradient for a fixed upstream one, by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attention_harness.benchmark.timing import Call
from attention_harness.cases import inputs
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


class Both:
    """What the arms of a cell share: leaves that require gradients, and the upstream gradient. Made outside the timing.

    The gradient runs through the output alone, as in `attention_harness.checks.gradients`.
    """

    def __init__(self, case: Case, tensors: Mapping[str, Tensor]) -> None:
        import torch

        self.leaves = {name: t.detach().requires_grad_() for name, t in tensors.items() if t.is_floating_point()}
        shape = inputs.shape_of(mechanisms()[case.mechanism].output, case.sizes)
        drawn = torch.from_numpy(inputs.drawn(case, "upstream", shape))
        self.upstream = drawn.to(getattr(torch, case.format.torch)).to(case.device)

    def of(self, forward: Call) -> Call:
        """Return the call of an implementation's forward that brings every leaf's gradient."""
        import torch

        leaves, given, upstream = list(self.leaves.values()), self.leaves, self.upstream

        def forward_backward(**tensors: Tensor) -> Any:
            result = forward(**{**tensors, **given})
            output = result[0] if isinstance(result, tuple) else result
            return torch.autograd.grad(output, leaves, upstream, allow_unused=True)

        return forward_backward
