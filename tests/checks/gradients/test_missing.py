"""A second derivative that autograd cannot find is told as missing, in words that say what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attention_harness.cases.ids import parse
from attention_harness.implementations import eager
from tests.checks.gradients.kernel import accused, made

CASE = parse("scaled_dot_product-B2H2Hk2Lq2Lk3D4Dv2-float64-plain-ordinary-contiguous")


class Detached(torch.autograd.Function):
    """A weighted sum whose backward pass autograd does not follow."""

    @staticmethod
    def forward(ctx, query, key, value):
        ctx.save_for_backward(query, key, value)
        return Detached.plain(query, key, value)

    @staticmethod
    def plain(query, key, value):
        """Return the attention."""
        return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value

    @staticmethod
    def backward(ctx, grad):
        leaves = [x.detach().requires_grad_() for x in ctx.saved_tensors]
        with torch.enable_grad():
            output = Detached.plain(*leaves)
        return torch.autograd.grad(output, leaves, grad)


class Recomputed(Detached):
    """The same by another call of autograd, which finds nothing to differentiate when it is differentiated."""

    @staticmethod
    def backward(ctx, grad):
        found = Detached.backward(ctx, grad)
        return tuple(Late.apply(one * 1.0, x) for one, x in zip(found, ctx.saved_tensors, strict=True))


class Late(torch.autograd.Function):
    """The identity; its backward pass raises what torch raises where no graph is left."""

    @staticmethod
    def forward(ctx, x, other):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return torch.autograd.grad(grad.detach().sum(), [grad])[0], None


@pytest.mark.parametrize("function", [Detached, Recomputed])
def test_what_is_missing_is_said(function):
    """The tensor, that it is the second derivative, and the declaration that claims none."""
    declared = replace(eager.CAPABILITIES, mechanisms=("scaled_dot_product",), options=(), weights=False)
    found = accused(made("opaque", lambda case: function.apply, declared), [CASE], ("gradient", "second_derivative"))
    assert len(found) == 1
    assert "second derivative of query: missing" in found[0]
    assert "second_derivatives=False" in found[0]
