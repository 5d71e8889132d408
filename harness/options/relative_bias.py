r"""A learned bias by distance, in the buckets of T5: a table of 32 buckets by H heads, added to the scaled scores.

Keys up to a query's place share 16 buckets, and those after it the other 16; under causality all 32 are of the first.
Half of the buckets of a side hold one distance each, the rest grow with its logarithm up to 128, and the last one holds
what is farther (Raffel et al. 2020). The place i of a query is that of causality's corner, as for a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.causal import place_in_keys
from attention_harness.options.option import Axes, Draw, Group, Option, Place, Stage, Tensor

_BUCKETS, _FARTHEST = 32, 128
_FORM = "buckets"


def _axes(form: Any, scores: Axes) -> Axes:
    return (str(_BUCKETS), "H")


def _draw(draw: Draw) -> NDArray[np.float64]:
    return draw.normal()


def _picks(place: Place, options: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the bucket of each pair of query and key."""
    after = np.arange(place.keys) - place_in_keys(options, place)
    after = after[:, 0] if after.ndim > 2 else after  # all heads pick alike
    if options.get("causal"):
        return _of_side(np.maximum(-after, 0), _BUCKETS)
    half = _BUCKETS // 2
    return _of_side(np.abs(after), half) + np.where(after > 0, half, 0)


def _of_side(distance: NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    single = buckets // 2
    # No distance lies so near to a bucket's edge that rounding the logarithms moves it.
    grown = np.log(np.maximum(distance, 1) / single) / np.log(_FARTHEST / single) * (buckets - single)
    far = np.minimum(single + np.floor(grown + 2.0**-40).astype(np.int64), buckets - 1)
    return np.where(distance < single, distance, far)


OPTION = Option(
    name="relative_bias",
    summary="a learned table (32, H): a bias for each head by T5's buckets of the distance, one-sided under causality",
    capability=lambda form: "relative_bias",
    capabilities=("relative_bias",),
    group=Group.HEADS,
    stage=Stage.BIAS,
    forms=(_FORM,),
    accepts=lambda form: form == _FORM,
    expected=_FORM,
    tensor=Tensor(_axes, _draw, parameter=True),
    picks=_picks,
    breaks=frozenset(
        {
            *("permuted_keys", "permuted_queries", "permuted_heads"),
            *("equal_keys", "sharp_scores", "shifted_scores", "split_and_merged", "decoded"),
        }
    ),
    argument=_FORM,
)
