r"""Queries and keys normalised before their product, each head's vector by its root mean square, with learned weights.

$\hat q = w_q \, q / \sqrt{\operatorname{mean}(q^2) + 10^{-6}}$ with the mean over the D features, and keys likewise;
the values are not normalised. After Henry et al. 2020, who divide by the Euclidean norm; by the root mean square
(Zhang and Sennrich 2019) as Qwen 3 and Gemma 3 have it. Gemma 3 stores w - 1: its file adds the 1. OLMo 2 normalises
all heads together, which is another formula. Of a self-attention the D features are those of the sequence, and a
rotation by positions comes after the norm: `rotated_query_key_norm` comes after the rotation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Stage, Tensor

FORM = "rms"
_FORMS = (FORM, "rms_large")


def _axes(form: Any, scores: Axes) -> Axes:
    return ("2", "D" if "H" in scores else "E")


def _draw(draw: Draw) -> NDArray[np.float64]:
    """Draw weights about 1; large ones about 4, with one far above them, as trained models have."""
    weights = 1 + draw.normal() / 4
    if draw.form == "rms_large":
        weights = 4 * weights
        weights[:, -1:] *= 4
    return weights


TENSOR = Tensor(_axes, _draw, parameter=True)
"""The weights of queries and of keys."""


OPTION = Option(
    name="query_key_norm",
    summary="learned weights (2, D or E): queries and keys are divided by their root mean square, times a row",
    capability=lambda form: "query_key_norm",
    capabilities=("query_key_norm",),
    group=Group.NAMED,  # the mechanism normalises: only that knows its queries and keys
    stage=Stage.SCORES,
    forms=_FORMS[:1],
    more_forms=_FORMS[1:],
    accepts=lambda form: form in _FORMS,
    expected="rms or rms_large",
    tensor=TENSOR,
    breaks=frozenset({"sharp_scores"}),
    argument=_FORMS[0],
)
