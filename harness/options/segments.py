r"""Packed sequences: segments of queries and of keys, by cumulative lengths; a query sees its segment's keys alone.

Segment n holds the queries $c^q_n \le i < c^q_{n+1}$ and the keys $c^k_n \le j < c^k_{n+1}$, and may be empty. Who lies
past the last end is in no segment. Where places are counted, as causality, windows and biases by distance do, each
segment is a problem of its own: its first query and key are its top-left corner, its last ones the bottom-right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Group, Option, Place, Stage, Tensor

_ENDS = "4"  # three segments, from 0
_FORMS = ("self", "cross")


def of_both(segments: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cumulative lengths of the queries and of the keys."""
    return (segments, segments) if segments.ndim == 1 else (segments[0], segments[1])


def segment_of(ends: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the segment that holds each place, in the shape of `place`; past the last end, the last one.

    ends: (N + 1,)
    """
    return np.minimum((place[..., None] >= ends[1:]).sum(-1), len(ends) - 2)


def _axes(form: str, scores: Axes) -> Axes:
    return (_ENDS,) if form == "self" else ("2", _ENDS)


def _draw(draw: Draw) -> NDArray[np.int64]:
    """Draw the ends; the first segment holds a query and the two keys that it has to see.

    Half of the cases leave out the last queries and keys. In the first segment of `cross` the corners are those of the
    whole, by which `draw.seen` counts. In `self` with as many keys as queries they are everywhere the same.
    """
    whole = np.array([draw.queries, draw.keys])
    if draw.form == "self":
        whole = np.full(2, whole.min())
    ends = np.sort(draw.whole_numbers(1 << 20), -1) * (whole[:, None] + 1) >> 20
    ends[:, 0] = 0
    row, seen = draw.seen
    more = whole[1] - whole[0]
    first = np.maximum(row, max(seen, default=-1) - more) + 1
    ends[0, 1:] = np.maximum(ends[0, 1:], min(first, whole[0]))
    ends[1, 1] = np.clip(ends[0, 1] + more, 0, whole[1])
    ends[1] = np.maximum.accumulate(ends[1])
    if not draw.flag:
        ends[:, -1] = whole
    return ends[0] if draw.form == "self" else ends


def _interval(segments: NDArray[np.int64], place: Place, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the first and last key of each query's segment; first > last where a query is in no segment."""
    of_queries, of_keys = of_both(segments)
    segment = segment_of(of_queries, place.query)
    first, end = of_keys[segment], np.where(place.query < of_queries[-1], of_keys[segment + 1], 0)
    return first, end - 1


OPTION = Option(
    name="segments",
    summary="cumulative lengths (4), or (2, 4) for queries and keys: a query sees the keys of its packed sequence",
    capability=lambda form: f"segments_{form}",
    capabilities=("segments_self", "segments_cross"),
    group=Group.PAIRS,
    stage=Stage.VISIBILITY,
    forms=_FORMS,
    accepts=lambda form: form in _FORMS,
    expected="self or cross",
    tensor=Tensor(_axes, _draw, parameter=True, bytes=8),
    interval=_interval,
    breaks=frozenset(
        {
            *("permuted_keys", "permuted_queries", "sharp_scores", "split_and_merged"),
            *("added_keys", "causal_future", "causal_gradient", "decoded"),  # they count places in the whole
        }
    ),
    argument="self",
)
