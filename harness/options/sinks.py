r"""Attention sinks: one learned logit a head in the softmax's denominator, unscaled, without a value.

$P_{ij} = e^{S_{ij}} / (e^{s_h} + \sum_{j'} e^{S_{ij'}})$ for the sink $s_h$ of head h. A query that sees no key
has zero weights. A sink of 0 is the "off-by-one" softmax.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Stage, Tensor

_CENTRES = {"ordinary": 0.0, "large": 6.0, "low": -6.0}
"""Where the logits lie: 0 is lost in bfloat16 beside many keys, and a large one takes most of the weight."""


def _axes(form: Any, scores: Axes) -> Axes:
    return ("H",)


def _draw(draw: Draw) -> NDArray[np.float64]:
    return draw.normal() + _CENTRES[draw.form]


OPTION = Option(
    name="sinks",
    summary="a learned tensor (H): of each head a logit in the softmax's denominator, without a key or a value",
    capability=lambda form: "sinks",
    capabilities=("sinks",),
    group=Group.HEADS,
    stage=Stage.SOFTMAX,
    forms=("ordinary", "large"),
    more_forms=("low",),
    accepts=lambda form: form in _CENTRES,
    expected="ordinary, large or low",
    tensor=Tensor(_axes, _draw, parameter=True),
    beside=lambda sinks: sinks[:, None, None],
    breaks=frozenset(
        {"shifted_scores", "hull", "one_key", "equal_keys", "sharp_scores", "split_and_merged", "permuted_heads"}
    ),
    argument="ordinary",
)
