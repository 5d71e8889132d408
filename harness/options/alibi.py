r"""Attention with linear biases: $-m_h |i - j|$ is added to the scaled scores of head h (Press et al. 2022).

The slopes $m_h$ of n heads, n a power of two, are $2^{-8h/n}$, h from 1 to n. Of another number of heads the first ones
are those of the largest power of two below it; then come the 1st, 3rd, 5th and so on of twice that power. A query's
place i is that of causality's corner, as for a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.causal import place_in_keys
from attention_harness.options.option import Group, Option, Place, Stage

_FORMS = ("full", "causal")
_ROUNDINGS = 4  # of the exponent, the power, the distance's product, and of repeated products in place of a power


def slopes(heads: int) -> NDArray[np.float64]:
    """Return the slope of each head."""
    whole = 1 << max(heads.bit_length() - 1, 0)
    first = 2.0 ** (-8.0 * np.arange(1, whole + 1) / whole)
    further = 2.0 ** (-4.0 * np.arange(1, 2 * (heads - whole), 2) / whole)
    return np.concatenate([first[:heads], further])


def _adds(
    form: str, shape: tuple[int, ...], place: Place, options: Mapping[str, Any]
) -> tuple[NDArray[np.float64], float]:
    distance = place_in_keys(options, place) - np.arange(shape[-1])
    behind = np.abs(distance) if form == "full" else distance
    return -slopes(shape[-3])[:, None, None] * behind, _ROUNDINGS


OPTION = Option(
    name="alibi",
    summary="full: -m_h |i - j| is added to the scaled scores, a slope m_h for each head; causal: -m_h (i - j)",
    capability=lambda form: f"alibi_{form}",
    capabilities=("alibi_full", "alibi_causal"),
    group=Group.HEADS,
    stage=Stage.BIAS,
    forms=_FORMS,
    accepts=lambda form: form in _FORMS,
    expected="full or causal",
    adds=_adds,
    read_as=lambda form, queries, keys: {other: other for other in _FORMS if other != form},
    breaks=frozenset(
        {
            *("permuted_keys", "permuted_queries", "permuted_heads"),
            *("equal_keys", "sharp_scores", "split_and_merged", "decoded"),
        }
    ),
    argument="full",
)
