"""Gradients where one tensor alone requires one, and by `.backward()`: what only shows there, and what is right."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from attention_harness import Capabilities
from attention_harness.cases.projection import cases_for
from attention_harness.model.case import Case
from tests.checks.gradients.kernel import accused, made

SIZES = {"B": 2, "H": 2, "Hk": 2, "Lq": 5, "Lk": 7, "D": 8, "Dv": 6}
BIASED = Case("scaled_dot_product", SIZES, "float32", {"bias": "full"})
GRADIENTS = ("gradient", "gradient_alone")


def implementation(attend):
    """Return an implementation of attend(query, key, value, bias)."""
    capabilities = Capabilities(("scaled_dot_product",), options=("bias",), gradients=True)
    return made(
        "alone", lambda case: lambda query, key, value, bias=None: attend(query, key, value, bias), capabilities
    )


def right(query, key, value, bias):
    """Attend; what a bias hides from every query stays NaN, and no case here has it."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return (scores if bias is None else scores + bias).softmax(-1) @ value


def reentrant(query, key, value, bias):
    """Attend behind a checkpoint that refuses `torch.autograd.grad`."""
    return checkpoint(right, query, key, value, bias, use_reentrant=True)


def refusing(query, key, value, bias):
    """Raise in the backward pass, whoever asks."""
    out = right(query, key, value, bias)
    if out.requires_grad:
        out.register_hook(lambda gradient: gradient.view(-1, 10**6))
    return out


@pytest.mark.parametrize("attend", [right, reentrant])
def test_a_reentrant_checkpoint_is_not_accused(attend):
    """It refuses `torch.autograd.grad`, which is a matter of how it is asked, and answers `.backward()`."""
    cases = [Case("scaled_dot_product", SIZES, "float32"), BIASED]
    assert [] == accused(implementation(attend), cases, GRADIENTS)


def test_another_error_of_the_backward_pass_is_one():
    """Only the refusal of a checkpoint leads to `.backward()`."""
    found = accused(implementation(refusing), [BIASED], ("gradient",))
    assert ["RuntimeError"] == [told.split(": ")[1] for told in found if "invalid for input of size" in told], found


@pytest.mark.parametrize("tensor", ["query", "key", "value", "bias"])
def test_each_tensor_is_alone_in_some_case(tensor):
    """A gradient that is twice too large where its tensor alone requires one is seen by `gradient_alone` alone."""

    def attend(query, key, value, bias):
        tensors = {"query": query, "key": key, "value": value, "bias": bias}
        needing = [name for name, one in tensors.items() if one is not None and one.requires_grad]
        out = right(query, key, value, bias)
        if needing == [tensor]:
            out.register_hook(lambda gradient: 2 * gradient)
        return out

    wrong = implementation(attend)
    cases = [case for case in cases_for(wrong.capabilities, "quick") if "bias" in case.options or tensor != "bias"]
    # the kernel here knows no row that a bias hides as a whole
    cases = [case for case in cases if max(case.sizes.values()) < 10 and case.options.get("bias") != "column"]
    assert [] == accused(wrong, cases[:12], ("gradient",))
    found = accused(wrong, cases[:12], ("gradient_alone",))
    assert found
    assert all(f"gradient, alone required, of {tensor}:" in told for told in found)
    assert torch.is_grad_enabled()
