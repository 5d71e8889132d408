r"""The decay of a recurrent state, in log space: before each update the state is multiplied by $\exp g_t$.

One number for each key head and position (RetNet, Gated DeltaNet, Mamba 2), or one for each feature of the keys too
(GLA, RWKV-6, Kimi Delta Attention).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Stage, Tensor

_AXES = {"head": ("B", "Hk", "L"), "feature": ("B", "Hk", "L", "D")}


def _axes(form: str, scores: Axes) -> Axes:
    return _AXES[form]


def _draw(draw: Draw) -> NDArray[np.float64]:
    """Draw numbers of at most 0: most keep much for long, a quarter some, and few all, or nothing past one position.

    exp(-g) of the last ones leaves the range of float32 once two of them are added up.
    """
    size, kind = np.abs(draw.normal()), draw.whole_numbers(32, "kind")
    return -np.select([kind == 0, kind < 3, kind < 11], [48 + 32 * size, np.zeros_like(size), size], size / 16)


OPTION = Option(
    name="decay",
    summary="numbers of at most 0, the logarithms by which a recurrent state decays at each position",
    capability=lambda form: f"{form}_decay",
    capabilities=tuple(f"{form}_decay" for form in _AXES),
    group=Group.NAMED,  # only a mechanism with a state can take it
    stage=Stage.SCORES,
    forms=tuple(_AXES),
    accepts=lambda form: form in _AXES,
    expected="head or feature",
    tensor=Tensor(_axes, _draw),
    argument="head",
)
