"""What a mask and a bias share: the shapes that they may have, and how they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Axes, Draw, Numbers

FORMS = ("full", "batch", "head", "query", "batch_query", "key", "column")
EXPECTED = "full, batch, head, query, batch_query, key or column"
WHOLE_ROWS = ("column",)
"""Forms that hide all keys of a query or none."""
_HEADS = ("head", "batch_query")  # without heads the one is `query` with one more axis, and the other `full`
SHOWN, OF = 7, 10  # a mask shows 7 keys of 10


def axes(form: str, scores: Axes) -> Axes:
    """Return the axes of a form: those that it names are its own, all others have length 1 or are left out."""
    return {
        "full": scores,
        "batch": (scores[0], *("1" for _ in scores[1:-1]), scores[-1]),
        "head": ("1", *scores[1:]),
        "query": scores[-2:],
        "batch_query": (scores[0], *("1" for _ in scores[1:-2]), *scores[-2:]),
        "key": (*("1" for _ in scores[:-1]), scores[-1]),
        "column": (scores[0], *("1" for _ in scores[1:-2]), scores[-2], "1"),
    }[form]


def cut(array: Any, rows: slice, queries: int) -> Any:
    """Return the rows of a condition; one that is the same for all queries stays whole."""
    return array[..., rows, :] if array.shape[-2] == queries else array


def lacks(form: str, scores: Axes) -> str:
    """Return why the form does not exist where the scores have no heads, or ""."""
    return "has no heads, so no mask or bias by head" if form in _HEADS and "H" not in scores else ""


def show(shown: NDArray[np.bool_], draw: Draw) -> None:
    """Let a query of the first batch and head see two keys: with one alone no error of a score or weight shows."""
    row, keys = draw.seen
    if shown.ndim == 2 and draw.layout == "expanded":  # the first row becomes everyone's
        row = 0
    if shown.size:
        places = [min(key, shown.shape[-1] - 1) for key in keys]
        shown[(*(0,) * (shown.ndim - 2), min(row, shown.shape[-2] - 1), places)] = True


def shown(draw: Draw, of: int, part: str = "") -> Numbers:
    """Return which pairs are shown: each with probability `of` / 10."""
    return draw.whole_numbers(OF, part) < of
