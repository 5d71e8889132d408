"""Correct attentions that compute in another order are never accused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from harness import Arithmetic, Case, conformance, registry
from harness.cases import matrix
from harness.values import NONCONFORMING
from tests.judge.variants import VARIANTS, implementation


@pytest.mark.parametrize("name", VARIANTS)
def test_a_correct_variant_is_not_accused(name):
    """On the whole default matrix, every dtype, no verdict of any check fails."""
    variant = implementation(name, *VARIANTS[name])
    items = conformance.plan([variant], matrix("default"))
    verdicts = [verdict for item in items for verdict in conformance.run(item)]
    accused = [verdict for verdict in verdicts if verdict.status in NONCONFORMING]
    assert [f"{verdict.check} {verdict.case}: {verdict.reason}" for verdict in accused] == []
    assert len([verdict for verdict in verdicts if verdict.share is not None]) > 400


def _in_order(scores, visible):
    """The softmax with its sum taken one key after another, in float32."""
    wide = scores if scores.dtype == torch.float64 else scores.float()
    peak = (
        wide.masked_fill(~visible, -math.inf).amax(-1, keepdim=True) if wide.shape[-1] else wide.sum(-1, keepdim=True)
    )
    weights = (wide - peak.masked_fill(peak == -math.inf, 0.0)).exp().masked_fill(~visible, 0.0)
    total = torch.zeros_like(wide.sum(-1, keepdim=True))
    for key in range(wide.shape[-1]):
        total = total + weights[..., key : key + 1]
    return (weights / total.masked_fill(total == 0, 1.0)).to(scores.dtype)


def _base_two(scores, visible):
    """The softmax by exponentials of base two of scores times log2(e)."""
    wide = (scores if scores.dtype == torch.float64 else scores.float()) * math.log2(math.e)
    peak = (
        wide.masked_fill(~visible, -math.inf).amax(-1, keepdim=True) if wide.shape[-1] else wide.sum(-1, keepdim=True)
    )
    weights = (wide - peak.masked_fill(peak == -math.inf, 0.0)).exp2().masked_fill(~visible, 0.0)
    total = weights.sum(-1, keepdim=True)
    return (weights / total.masked_fill(total == 0, 1.0)).to(scores.dtype)


@pytest.mark.parametrize("softmax", [_in_order, _base_two])
def test_a_correct_softmax_is_not_accused(softmax):
    """The masked softmax alone, on the default matrix and on long rows, in other orders than the reference's."""
    own = implementation("softmax", *VARIANTS["online"]).module

    def masked_softmax(scores, *, bias=None, **given):
        finished = scores if bias is None else scores + bias.masked_fill(bias == -math.inf, 0.0)
        seen = own.visible_keys(scores, given.get("mask"), bias, given.get("valid_lens"), given.get("causal"))
        return softmax(
            finished, torch.ones_like(scores, dtype=torch.bool) if seen is None else seen.expand(scores.shape)
        )

    module = ModuleType("softmax")
    module.CAPABILITIES = replace(own.CAPABILITIES, mechanisms=("masked_softmax",), arithmetic=Arithmetic())
    corner = lambda case: {name: case.options[name] for name in ("causal",) if name in case.options}  # noqa: E731
    module.prepare = lambda case: lambda **tensors: masked_softmax(**tensors, **corner(case))
    long = [
        Case("masked_softmax", {"B": 1, "H": 2, "Lq": 8, "Lk": keys}, "float32", {}, content)
        for keys in (65, 257, 1024)
        for content in ("ordinary", "shifted", "large")
    ]
    wanted = [*(case for case in matrix("default") if case.mechanism == "masked_softmax"), *long]
    items = conformance.plan([registry.Implementation("softmax", module, Path(__file__))], wanted)
    verdicts = [verdict for item in items for verdict in conformance.run(item)]
    assert [] == [f"{v.check} {v.case}: {v.reason}" for v in verdicts if v.status in NONCONFORMING]
    assert len([verdict for verdict in verdicts if verdict.share is not None]) > 40
