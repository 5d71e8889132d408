"""A sliding window: a query sees l keys before its own place, its own and r after it.

Its place is i under the corner of the case's `causal`: i itself (top_left) or i + Lk - Lq (bottom_right). Without
`causal` it is i, the top-left corner's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attention_harness.options.causal import place_in_keys
from attention_harness.options.option import Group, Option, Place, Stage


def _accepts(window: Any) -> bool:
    whole = isinstance(window, tuple) and len(window) == 2
    return whole and all(isinstance(side, int) and side >= 0 for side in window)


def _interval(window: tuple[int, int], place: Place, options: Mapping[str, Any]) -> tuple[Any, Any]:
    centre, (left, right) = place_in_keys(options, place), window
    return centre - left, centre + right


def _read_as(window: tuple[int, int], queries: int, keys: int) -> dict[str, tuple[int, int]]:
    """Return what others compute: a key more or less on a side, none after the query's own, sides swapped, a corner."""
    left, right = window
    near = ((left + 1, right), (left - 1, right), (left, right + 1), (left, right - 1), (left, 0), (right, left))
    found = {f"{left},{right}": (left, right) for left, right in near if min(left, right) >= 0}
    more = keys - queries
    return found | {"that of the bottom-right corner": (left - more, right + more)} if more else found


OPTION = Option(
    name="window",
    summary="l,r: a query sees l keys before its place, that of causal's corner (top_left without), and r after it",
    capability=lambda window: "window",
    capabilities=("window",),
    group=Group.PAIRS,
    stage=Stage.VISIBILITY,
    forms=((2, 1), (1, 3)),  # causality leaves two keys of each
    more_forms=((0, 3), (3, 0), (0, 0), (8, 16)),
    accepts=_accepts,
    expected="two whole numbers, keys before and after the query's own place, such as 2,1",
    interval=_interval,
    read_as=_read_as,
    breaks=frozenset({"permuted_keys", "permuted_queries", "sharp_scores", "split_and_merged"}),
)
