"""A boolean mask: True where the query may see the key."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options import _conditions, _structures
from attention_harness.options.option import Axes, Draw, Group, Hiding, Option, Stage, Tensor


def _axes(form: str, scores: Axes) -> Axes:
    return _conditions.axes(_structures.FORMS.get(form, form), scores)


def _lacks(form: str, scores: Axes) -> str:
    return _conditions.lacks(_structures.FORMS.get(form, form), scores)


def _draw(draw: Draw) -> NDArray[np.bool_]:
    if draw.form in _structures.FORMS:
        return _structures.drawn(draw)
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
    forms=("full", "batch", "head", "query", "batch_query"),
    more_forms=("key", "column", *_structures.FORMS),
    accepts=lambda form: form in (*_conditions.FORMS, *_structures.FORMS),
    expected=f"{_conditions.EXPECTED}, or a structure: {', '.join(_structures.FORMS)}",
    tensor=Tensor(_axes, _draw, _conditions.cut, bytes=1),
    visible=_visible,
    hiding=Hiding(
        shown=lambda shape, keys: np.ones(shape, bool),
        hide=lambda mask, hidden: mask & ~hidden,
        whole_rows=_conditions.WHOLE_ROWS,
    ),
    lacks=_lacks,
    breaks=frozenset({"sharp_scores"}),
    argument="full",
)
