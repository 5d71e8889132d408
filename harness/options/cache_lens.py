r"""Lengths of a key and value cache: how many keys each batch element holds, those of earlier calls and of this one.

Keys from the first on are valid up to that number, as under valid lengths. Where places are counted from the
bottom-right corner, the corner is that of what is valid: query i of batch element b stands at key $i + n_b - L_q$.
If that is before the first key, the query sees none under causality. The last $L_q$ valid keys are the queries' own.

ONNX's Attention calls it `nonpad_kv_seqlen`. FlashAttention's `cache_seqlens` is the same where the call's own keys are
in the cache already; where they are passed beside it, it is less by their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Place, Stage, Tensor
from attention_harness.options.valid_lens import HIDING, seen_by_lens

_FORM = "batch"


def valid_keys_of(lens: NDArray[np.int64], place: Place) -> NDArray[np.int64]:
    """Return how many keys each batch element holds, broadcastable to columns of the scores' rows."""
    return lens.reshape(-1, *(1,) * (place.outer + 1))


def _axes(form: str, scores: Axes) -> Axes:
    return scores[:1]


def _draw(draw: Draw) -> NDArray[np.int64]:
    """Draw lengths, also such as are shorter than the queries; one batch element holds all keys, where it is not alone.

    In half of the cases that is the first, whose corner is that of the whole, by which `draw.seen` counts.
    """
    lens = draw.whole_numbers(draw.keys + 1)
    if lens.size > 1 or not draw.flag:
        lens[-1 if draw.flag else 0 :][:1] = draw.keys
    # A single length of 0 or 1 would leave the case without a weight that could be wrong.
    return np.maximum(lens, min(2, draw.keys)) if lens.size == 1 else lens


OPTION = Option(
    name="cache_lens",
    summary="whole numbers (B): keys j < cache_len are seen, and the bottom-right corner is that of these keys",
    capability=lambda form: "cache_lens",
    capabilities=("cache_lens",),
    group=Group.PAIRS,
    stage=Stage.VISIBILITY,
    forms=(_FORM,),
    accepts=lambda form: form == _FORM,
    expected=_FORM,
    tensor=Tensor(_axes, _draw, bytes=8),
    visible=seen_by_lens,
    hiding=HIDING,
    breaks=frozenset(
        {
            *("permuted_keys", "sharp_scores"),
            *("added_keys", "causal_future", "causal_gradient", "decoded"),  # they count places in the whole
        }
    ),
    argument=_FORM,
)
