"""The simulated implementation rounds as NumPy and torch do, and errs as far as it is allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attention_harness.bounds import Model
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES
from tests.bounds.soundness.adversary import Adversary, nearest
from tests.bounds.soundness.simulated import Simulated

HALF = pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])


def spread(seed: int) -> np.ndarray:
    """Return numbers of float32, of either sign, from far below the subnormal numbers of float16 to its largest."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=20000) * 2.0 ** rng.integers(-30, 14, 20000)).astype(np.float32).astype(np.float64)


@HALF
def test_rounding_to_nearest_is_torch_s(name):
    """Bit for bit, subnormal numbers among them."""
    x = spread(0)
    assert nearest(x, DTYPES[name]).tolist() == torch.from_numpy(x).to(getattr(torch, name)).double().tolist()


@HALF
def test_the_simulated_steps_are_torch_s(name):
    """A sum, a difference and a product of two numbers."""
    kind, model = getattr(torch, name), Model.of(Arithmetic(accumulator=name), name)
    a, b = (nearest(np.clip(spread(seed), -100, 100), DTYPES[name]) for seed in (1, 2))
    held = [Simulated(model, Adversary("nearest"), x) for x in (a, b)]
    real = [torch.from_numpy(x).to(kind) for x in (a, b)]
    for step in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y):
        assert step(*held).held.tolist() == step(*real).double().tolist()


@pytest.mark.parametrize(("mode", "error"), [("up", 1), ("down", -1)])
def test_an_adversary_errs_by_half_a_unit(mode, error):
    """By the largest error of a rounding to nearest, in its direction; zeros stay."""
    fmt = DTYPES["bfloat16"]
    assert Adversary(mode).store(np.array([1.0, 0.0]), fmt).tolist() == [
        1 + error * fmt.roundoff / (1 + fmt.roundoff),
        0,
    ]
