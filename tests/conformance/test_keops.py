"""`keops` agrees with eager on what it compiles: plain and with hidden keys, widths that it fills up, gradients."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from attention_harness.implementations import eager, keops

pytest.importorskip("pykeops", reason="pykeops is not installed: python -m tox -e extras")
if keops.unavailable():
    pytest.skip(keops.unavailable(), allow_module_level=True)


def tensors() -> list[torch.Tensor]:
    """Return inputs of the Gaussian kernel in float64, three wide: KeOps gets four."""
    made = torch.Generator().manual_seed(1)
    shapes = ((2, 2, 7, 3), (2, 2, 9, 3), (2, 2, 9, 1), (1,))
    return [torch.randn(*shape, dtype=torch.float64, generator=made).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("conditions", [{}, {"valid_lens": torch.tensor([3, 0]), "window": (2, 1)}], ids=str)
def test_it_agrees_with_eager(conditions):
    """Outputs and all gradients; a query that sees no key is zero."""
    inputs = tensors()
    expected, got = eager.gaussian_kernel(*inputs, **conditions)[0], keops.gaussian_kernel(*inputs, **conditions)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(expected)
    pairs = zip(*(torch.autograd.grad(x, inputs, upstream) for x in (expected, got)), strict=True)
    for right, found in pairs:
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)


def test_it_prints_nothing():
    """A verb's standard output may have to be one JSON document."""
    script = (
        "import torch\nfrom attention_harness.implementations import keops\n"
        "x = torch.rand(1, 1, 4, 1)\nkeops.gaussian_kernel(x, x, x, torch.ones(1))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "" == done.stdout
