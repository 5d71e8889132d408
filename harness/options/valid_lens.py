"""Valid lengths: the keys from the first on that a batch element, or each of its queries, may see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Hiding, Option, Stage, Tensor

_FORMS = ("batch", "query")


def _axes(form: str, scores: Axes) -> Axes:
    return scores[:1] if form == "batch" else (scores[0], scores[-2])


def _draw(draw: Draw) -> NDArray[np.int64]:
    row, seen = draw.seen
    lens = draw.whole_numbers(draw.keys + 1)
    if lens.size > 1 and not draw.flag:
        lens.flat[-1] = 0  # a row that sees no key
    if lens.size:  # and one that sees two, in the first batch, which `expanded` repeats
        row = min(row, lens.shape[-1] - 1) if lens.ndim == 2 else 0
        lens.flat[row] = max(lens.flat[row], max(seen, default=-1) + 1)
    return lens


def _cut(lens: Any, rows: slice, queries: int) -> Any:
    return lens[:, rows] if np.ndim(lens) == 2 else lens


def seen_by_lens(lens: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which keys are seen, as (B, 1, Lq or 1, Lk); or (B, Lq or 1, Lk) where the scores have no heads."""
    lens = np.asarray(lens)
    lens = lens[:, None] if lens.ndim == 1 else lens
    heads = (1,) * (len(shape) - 3)
    return np.arange(shape[-1]) < lens.reshape(lens.shape[0], *heads, lens.shape[1], 1)


def _hide(lens: Any, hidden: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return lengths that end before the first hidden key: those behind it must be hidden too."""
    first = np.where(hidden.any(-1), hidden.argmax(-1), hidden.shape[-1])
    if (np.arange(hidden.shape[-1]) >= first[..., None]).sum() != hidden.sum():
        raise ValueError("lengths hide the last keys alone")
    return np.minimum(lens, first)


HIDING = Hiding(
    shown=lambda shape, keys: np.full(shape, keys),
    hide=_hide,
    any_keys=False,
    moved=lambda lens, places, keys: np.clip(lens + places, 0, keys),
)
"""How lengths hide keys."""


OPTION = Option(
    name="valid_lens",
    summary="whole numbers for each batch element, or for each query too: keys j < valid_len are seen",
    capability=lambda form: "valid_lens",
    capabilities=("valid_lens",),
    group=Group.SCORES,
    stage=Stage.VISIBILITY,
    forms=_FORMS,
    accepts=lambda form: form in _FORMS,
    expected="batch or query",
    tensor=Tensor(_axes, _draw, _cut, bytes=8),
    visible=seen_by_lens,
    hiding=HIDING,
    breaks=frozenset({"permuted_keys", "sharp_scores"}),
    argument="batch",
)
