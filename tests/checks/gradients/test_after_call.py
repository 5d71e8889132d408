"""A backward pass is that of its own forward pass, whatever was called between the two."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.implementations import eager
from tests.checks.gradients.kernel import accused, made

ID = "scaled_dot_product-B2H3Hk3Lq{}Lk{}D16Dv8-float32-{}-ordinary-contiguous"
CASES = [parse(ID.format(5, 7, options)) for options in ("plain", "mask=full", "past=half", "bias=full")]
SAVED: dict[str, torch.Tensor] = {}


class Product(torch.autograd.Function):
    """Weights times values; the values are kept where the next forward pass puts its own."""

    @staticmethod
    def forward(ctx, weights, value):
        SAVED["value"] = value
        ctx.save_for_backward(weights)
        return weights @ value

    @staticmethod
    def backward(ctx, grad):
        (weights,) = ctx.saved_tensors
        return grad @ SAVED["value"].mT, weights.mT @ grad


def implementation(product, through=lambda call, **tensors: call(**tensors)):
    """Return eager with another weighted sum, called through something."""

    def prepare(case):
        def call(**tensors):
            weights = eager.prepare(case)(**tensors)[1]
            earlier = tensors.get("past_value")
            value = tensors["value"] if earlier is None else torch.cat([earlier, tensors["value"]], -2)
            return product(weights, value)

        return lambda **tensors: through(call, **tensors)

    declared = {"mechanisms": ("scaled_dot_product",), "options": ("mask", "bias", "past"), "gradients": True}
    return made("after_call", prepare, type(eager.CAPABILITIES)(**declared))


def test_what_the_latest_forward_pass_left_is_seen():
    """By this check alone: elsewhere each backward pass follows its own forward pass."""
    shared = implementation(Product.apply)
    assert [] == accused(shared, CASES, ("accuracy", "gradient", "gradient_alone", "second_call"))
    found = accused(shared, CASES, ("gradient_after_call",))
    assert len(CASES) == len(found)
    assert all("gradient, after a call with other numbers, of " in told for told in found)


def reentrant(call, **tensors):
    """Call behind a checkpoint that knows `.backward()` alone."""
    return checkpoint(lambda *values: call(**dict(zip(tensors, values))), *tensors.values(), use_reentrant=True)


@pytest.mark.parametrize("through", [lambda call, **tensors: call(**tensors), reentrant])
def test_a_backward_pass_of_its_own_forward_pass_is_right(through):
    """In a graph of autograd's, and computed again at the end."""
    assert [] == accused(implementation(torch.matmul, through), CASES, ("gradient_after_call",))


@pytest.mark.parametrize(("lengths", "options", "asked"), [((64, 128), "plain", 1), ((64, 128), "mask=full", 0)])
def test_a_kernel_of_whole_blocks_is_asked_too(lengths, options, asked):
    """Of long cases those without options."""
    [one] = registry.select(["eager"])
    assert asked == BY_NAME["gradient_after_call"].applies(one, parse(ID.format(*lengths, options)))
