"""A scale in place of the mechanism's own: a number, or a learned tensor that comes with the call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Stage, Tensor

_LEARNED = "learned"


def _axes(form: Any, scores: Axes) -> Axes:
    return ("1",)


def _draw(draw: Draw) -> NDArray[np.float64]:
    return 0.25 + np.abs(draw.normal()) / 8


OPTION = Option(
    name="scale",
    summary="a number, or a learned tensor (1), that replaces the mechanism's own scale",
    capability=lambda form: "learned_scale" if form == _LEARNED else "scale",
    capabilities=("scale", "learned_scale"),
    group=Group.NAMED,  # the mechanism multiplies by it: only that knows what it replaces
    stage=Stage.SCALE,
    forms=(0.375, _LEARNED),
    more_forms=(1.0, 0.0, 0.1, 2.0, -0.5),  # 0.1 is exact in no format
    accepts=lambda form: form == _LEARNED or (isinstance(form, float) and math.isfinite(form)),
    expected="a finite number or learned",
    tensor=Tensor(_axes, _draw, parameter=True),
)
