r"""A soft cap on the scores: $c \tanh(s / c)$ behind the scale and before the bias, so that no score exceeds c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_harness.options.option import Group, Option, Stage


def _apply(scores: Any, cap: float) -> Any:
    """Return the capped scores; an implementation may divide by the cap or multiply by its rounded inverse."""
    return np.tanh(scores * _constant(1 / cap, scores, 2)) * _constant(cap, scores, 1)


def _constant(number: float, scores: Any, roundings: int) -> Any:
    """Return a number that every implementation computes for itself, right to so many roundings."""
    value = np.float64(number)
    return scores.computed(value, roundings) if hasattr(scores, "computed") else value


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
    apply=_apply,
    breaks=frozenset({"sharp_scores", "shifted_scores"}),
)
