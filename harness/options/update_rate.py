r"""The update rate of the delta rule: $b_t$, how far a state is corrected towards the value that a key shall fetch.

$S_t = S_{t-1} + b_t k_t (v_t - S_{t-1}^\top k_t)^\top$ (Schlag et al. 2021; Yang et al. 2024, DeltaNet). At 0 the state
stays. At 1, with a key of length 1, the key fetches the new value and nothing of the old one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Stage, Tensor

_FORM = "sigmoid"


def _axes(form: Any, scores: Axes) -> Axes:
    return ("B", "Hk", "L")


def _draw(draw: Draw) -> NDArray[np.float64]:
    """Draw sigmoids of ordinary numbers; one in eight is 0, and one in eight is 1, as where a sigmoid saturates."""
    kind = draw.whole_numbers(8, "kind")
    return np.select([kind == 0, kind == 1], [0.0, 1.0], 1 / (1 + np.exp(-draw.normal())))


OPTION = Option(
    name="update_rate",
    summary="numbers from 0 to 1: a recurrent state is updated by the delta rule, so far at each position",
    capability=lambda form: "update_rate",
    capabilities=("update_rate",),
    group=Group.NAMED,  # only a mechanism with a state can take it
    stage=Stage.SCORES,
    forms=(_FORM,),
    accepts=lambda form: form == _FORM,
    expected=_FORM,
    tensor=Tensor(_axes, _draw),
    argument=_FORM,
)
