"""Causality: a query sees the keys up to its own place, counted from one of two corners of the scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.options.cache_lens import valid_keys_of
from attention_harness.options.option import Group, Option, Place, Stage
from attention_harness.options.segments import of_both, segment_of

_CORNERS = ("top_left", "bottom_right")


def place_in_keys(options: Mapping[str, Any], place: Place) -> Any:
    """Return the key at which each query stands, as a column: i, or i + Lk - Lq under the bottom-right corner.

    If the options hold the array of `segments`, i and both lengths count within the query's segment; otherwise, if they
    hold that of `cache_lens`, Lk is each batch element's own, and there is a column for each. If they hold a form
    alone, as while tensors are drawn, they count in the whole.
    """
    corner = options.get("causal") or "top_left"
    if corner not in _CORNERS:
        raise ValueError(f"unknown causal corner {corner!r}; known: {', '.join(_CORNERS)}")
    packed = options.get("segments")
    if isinstance(packed, np.ndarray):
        of_queries, of_keys = of_both(packed)
        corners = segment_of(of_queries, place.query) + (corner == "bottom_right")
        return place.query + of_keys[corners] - of_queries[corners]
    if corner == "top_left":
        return place.query
    lens = options.get("cache_lens")
    keys = valid_keys_of(lens, place) if isinstance(lens, np.ndarray) else place.keys
    return place.query + keys - place.queries


def _interval(corner: str, place: Place, options: Mapping[str, Any]) -> tuple[Any, Any]:
    return 0, place_in_keys(options, place)


OPTION = Option(
    name="causal",
    summary="query i sees key j where i >= j (top_left) or i + Lk - Lq >= j (bottom_right)",
    capability=lambda corner: f"causal_{corner}",
    capabilities=("causal_top_left", "causal_bottom_right"),
    group=Group.PAIRS,
    stage=Stage.VISIBILITY,
    forms=_CORNERS,
    accepts=lambda corner: corner in _CORNERS,
    expected="top_left or bottom_right",
    interval=_interval,
    breaks=frozenset({"permuted_keys", "permuted_queries", "sharp_scores", "split_and_merged"}),
    argument="top_left",
)
