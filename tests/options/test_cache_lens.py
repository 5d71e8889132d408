"""Lengths of a cache: which keys are seen, and the corner of what is valid, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from attention_harness.options import OPTIONS, Place
from attention_harness.options.causal import place_in_keys
from attention_harness.reference.core import visible_keys


def rows(batch) -> list[str]:
    return ["".join(map(str, row)) for row in batch.astype(int)]


@pytest.mark.parametrize(
    ("causal", "expected"),
    [
        (None, [["11110"] * 3, ["10000"] * 3, ["00000"] * 3]),
        ("top_left", [["10000", "11000", "11100"], ["10000"] * 3, ["00000"] * 3]),
        # 4 valid keys and 3 queries: offset 1; a single one: offset -2, so that two queries stand before it; none: -3
        ("bottom_right", [["11000", "11100", "11110"], ["00000", "00000", "10000"], ["00000"] * 3]),
    ],
)
@pytest.mark.parametrize("heads", [(2,), ()])
def test_by_hand(causal, expected, heads):
    """A corner that lies before the first key gives fully masked rows; scores without heads are counted alike."""
    options = {"cache_lens": np.array([4, 1, 0])} | ({"causal": causal} if causal else {})
    seen = visible_keys((3, *heads, 3, 5), **options)
    assert expected == [rows(batch) for batch in (seen[:, -1] if heads else seen)]


def test_windows_and_biases_count_from_the_same_corner():
    """A window of one key before the place; the distances of linear biases; the buckets of a relative one."""
    options = {"cache_lens": np.array([4, 2]), "causal": "bottom_right"}
    seen = visible_keys((2, 1, 2, 5), **options, window=(1, 0))
    assert [["01100", "00110"], ["10000", "11000"]] == [rows(batch) for batch in seen[:, 0]]
    place = Place(2, 5)
    added, _ = OPTIONS["alibi"].adds("full", (2, 1, 2, 5), place, options)
    assert (added[:, 0] == -(2.0**-8) * np.abs(np.array([[[2], [3]], [[0], [1]]]) - np.arange(5))).all()
    picked = OPTIONS["relative_bias"].picks(place, options)
    assert picked.shape == (2, 2, 5)
    assert [2, 1, 0, 0, 0] == picked[0, 0].tolist()


def test_the_form_alone_counts_in_the_whole():
    """As while tensors are drawn, when no lengths are known."""
    options = {"cache_lens": "batch", "causal": "bottom_right"}
    assert [2, 3, 4] == place_in_keys(options, Place(3, 5))[:, 0].tolist()
