r"""A soft cap on the scores: $c \tanh(s / c)$ behind the scale and before the bias, so that no score exceeds c."""

from __future__ import annotations

import math

import numpy as np

from attention_harness.options.option import Group, Option, Stage

OPTION = Option(
    name="softcap",
    summary="a number c > 0: the scaled scores s become c tanh(s / c), before a bias is added",
    capability=lambda cap: "softcap",
    capabilities=("softcap",),
    group=Group.PAIRS,
    stage=Stage.CAP,
    forms=(1.5,),
    more_forms=(30.0, 0.3),  # 0.3 is exact in no format
    accepts=lambda cap: isinstance(cap, float) and math.isfinite(cap) and cap > 0,
    expected="a positive number",
    apply=lambda scores, cap: np.tanh(scores / cap) * cap,
    moves=(Stage.BIAS, Stage.VISIBILITY),  # as ONNX's Attention did until onnx/onnx#7867
    breaks=frozenset({"sharp_scores", "shifted_scores"}),
)
