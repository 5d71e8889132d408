"""A bias: numbers added to the scores behind scale and cap; -inf hides a key."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options import _conditions
from attention_harness.options.option import Draw, Group, Hiding, Option, Stage, Tensor


def _draw(draw: Draw) -> NDArray[np.float64]:
    bias = draw.normal()
    shown = _conditions.shown(draw, _conditions.SHOWN + 1, "hidden")
    _conditions.show(shown, draw)
    return np.where(shown, bias, -np.inf)


def _visible(bias: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(~np.equal(bias, -np.inf))


OPTION = Option(
    name="bias",
    summary="a tensor, broadcast to the scores and added to them; -inf hides a key",
    capability=lambda form: "bias",
    capabilities=("bias",),
    group=Group.SCORES,
    stage=Stage.BIAS,
    forms=("full", "query"),
    more_forms=("batch", "head", "batch_query", "key", "column"),
    accepts=lambda form: form in _conditions.FORMS,
    expected=_conditions.EXPECTED,
    tensor=Tensor(_conditions.axes, _draw, _conditions.cut),
    apply=lambda scores, bias: scores + bias,
    visible=_visible,
    hiding=Hiding(
        shown=lambda shape, keys: np.zeros(shape),
        hide=lambda bias, hidden: np.where(hidden, -np.inf, bias),
        whole_rows=_conditions.WHOLE_ROWS,
    ),
    lacks=_conditions.lacks,
    breaks=frozenset({"sharp_scores"}),
    argument="full",
)
