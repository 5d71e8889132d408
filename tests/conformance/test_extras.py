"""The rows of optional extras say how to get them, and what of them needs no framework is right."""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import torch

from attention_harness.cases.ids import parse
from attention_harness.implementations import _eager_options, jax, keops, openvino

ROOT = Path(__file__).parents[2]
ROWS = {"jax": jax, "keops": keops, "openvino": openvino}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_missing_is_said(name, monkeypatch):
    """With the extra that brings it; and that extra is declared, and pinned."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reason = ROWS[name].unavailable()
    [extra] = re.findall(r"pip install attention-harness\[(\w+)\]$", reason)
    assert "not installed" in reason
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    packages = [re.match(r"[\w-]+", one)[0] for one in project["optional-dependencies"][extra]]
    assert set(packages) <= set(pins)
    assert not {"pykeops", "jax", "openvino"} & {re.match(r"[\w-]+", one)[0] for one in project["dependencies"]}


def test_keops_needs_a_compiler(monkeypatch):
    """It says so in place of failing at the first call."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("CXX", "no_such_compiler")
    assert "no C++ compiler no_such_compiler: KeOps compiles each formula" == keops.unavailable()


@pytest.mark.parametrize(
    ("dtype", "why"), [("float64", "softmax in float32"), ("float16", "dot_general"), ("float32", "")]
)
def test_jax_refuses_what_its_attention_does_not_compute(dtype, why):
    """Its formulas take every dtype."""
    sizes = "B2H3Hk3Lq5Lk7D16Dv8"
    assert why in jax.unsupported(parse(f"scaled_dot_product-{sizes}-{dtype}-plain-ordinary-contiguous"))
    assert bool(why) == bool(jax.unsupported(parse(f"dot_product-{sizes}-{dtype}-plain-ordinary-contiguous")))
    assert "" == jax.unsupported(parse(f"gaussian_kernel-B2H3Lq5Lk7D16Dv8-{dtype}-plain-ordinary-contiguous"))


@pytest.mark.parametrize("causal", [None, "top_left", "bottom_right"])
@pytest.mark.parametrize("window", [None, (0, 0), (2, 1), (1, 3)])
def test_the_first_and_last_key_that_keops_shows_are_right(causal, window):
    """Of each query, as eager's masks have them; a last key before the first shows none."""
    for queries, keys in itertools.product((1, 4, 7, 9), repeat=2):
        scores, position = torch.zeros(2, 1, queries, keys), torch.arange(keys)
        for lens in (None, torch.tensor([0, 3]), torch.randint(0, keys + 1, (2, queries))):
            mask = None if window is None else _eager_options.windowed(None, scores, window, causal)
            visible = _eager_options.visible_keys(scores, mask, None, lens, causal)
            ends = keops.seen_places(queries, keys, lens, causal, window)
            if visible is None:
                assert ends is None
                continue
            seen = (ends[..., :1] <= position) & (position <= ends[..., 1:])
            assert torch.equal(visible.expand(2, 1, queries, keys)[:, 0], seen.expand(2, queries, keys))


@pytest.mark.parametrize(("low", "high"), [(1e-6, 0.01), (0.01, 0.625), (0.6, 0.65), (0.6, 20.0)])
def test_the_tanh_of_keops_errs_as_declared(low, high):
    """Its fraction near 0 and its exponential beyond, in float32 steps, and the change from one to the other."""
    x = torch.empty(100_000).uniform_(math.log(low), math.log(high), generator=torch.Generator().manual_seed(1)).exp()
    square = x * x
    above, below = (
        sum(number * square**power for power, number in enumerate(numbers)) for numbers in (keops._ABOVE, keops._BELOW)
    )
    got = torch.where(25 - 64 * square >= 0, x * above / below, 1 - 2 / ((2 * x).exp() + 1)).double()
    right = x.double().tanh()
    unit = 2.0 ** (right.log2().floor() - 23)
    assert ((got - right).abs() <= keops.CAPABILITIES.arithmetic.exp_ulp * unit).all()
    for text in keops._SCORES.values():
        assert "Tanh" not in text, "KeOps 2.3 has none"
