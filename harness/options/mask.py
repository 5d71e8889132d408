"""A boolean mask: True where the query may see the key."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options import _conditions
from attention_harness.options.option import Draw, Group, Hiding, Option, Stage, Tensor


def _draw(draw: Draw) -> NDArray[np.bool_]:
    mask = _conditions.shown(draw, _conditions.SHOWN)
    if draw.flag and np.prod(draw.shape[:-1]) > 1:
        mask[(-1,) * (mask.ndim - 1)] = False  # a row that sees no key; not the first, which `expanded` repeats
    _conditions.show(mask, draw)
    return mask


def _visible(mask: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(mask, bool)


OPTION = Option(
    name="mask",
    summary="a boolean tensor, broadcast to the scores: True where the query may see the key",
    capability=lambda form: "mask",
    capabilities=("mask",),
    group=Group.SCORES,
    stage=Stage.VISIBILITY,
    forms=_conditions.FORMS,
    accepts=lambda form: form in _conditions.FORMS,
    expected=_conditions.EXPECTED,
    tensor=Tensor(_conditions.axes, _draw, _conditions.cut, bytes=1),
    visible=_visible,
    hiding=Hiding(lambda shape, keys: np.ones(shape, bool), lambda mask, hidden: mask & ~hidden),
    lacks=_conditions.lacks,
    breaks=frozenset({"sharp_scores"}),
    argument="full",
)
