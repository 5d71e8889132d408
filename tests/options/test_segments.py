"""Packed sequences: what is drawn keeps what it promises to other options, and two small problems counted by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.options import OPTIONS
from attention_harness.reference.core import visible_keys

SEGMENTS = OPTIONS["segments"]


@dataclass(frozen=True)
class Drawn:
    """A draw of `cross` whose numbers a seed decides. seen: a query and the keys that it must be shown."""

    queries: int
    keys: int
    seen: tuple[int, tuple[int, ...]]
    flag: bool
    seed: int
    form: str = "cross"

    def whole_numbers(self, limit: int, part: str = "") -> np.ndarray:
        return np.random.default_rng(self.seed).integers(0, limit, (2, 4))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(2, 12), st.booleans(), st.integers(0, 10**6))
def test_the_first_segment_holds_what_must_be_seen_and_has_the_corners_of_the_whole(queries, keys, flag, seed):
    """Ends grow from 0; the first segment has the query and keys to see, and lengths that differ as the whole's do."""
    row = min(max(queries - keys + 1, 0), queries - 1)
    last = min(row + keys - queries, keys - 1)
    seen = (last - 1, last) if last >= 1 else (0,)
    ends = SEGMENTS.tensor.draw(Drawn(queries, keys, (row, seen), flag, seed))
    assert (np.diff(ends) >= 0).all()
    assert [0, 0] == ends[:, 0].tolist()
    assert (ends[:, -1] <= [queries, keys]).all()
    if last >= 1:
        assert ends[0, 1] > row
        assert ends[1, 1] > max(seen)
        assert ends[1, 1] - ends[0, 1] == keys - queries


@pytest.mark.parametrize(
    ("causal", "expected"),
    [
        (None, ["11000", "11000", "00000", "00111", "00000"]),
        ("top_left", ["10000", "11000", "00000", "00100", "00000"]),
        ("bottom_right", ["10000", "11000", "00000", "00111", "00000"]),
    ],
)
def test_by_hand(causal, expected):
    """Two queries see two keys, one sees none, one sees three, and the last is in no segment."""
    segments = np.array([[0, 2, 3, 4], [0, 2, 2, 5]])
    shown = visible_keys((1, 5, 5), segments=segments, **({"causal": causal} if causal else {}))[0]
    assert expected == ["".join(map(str, row.astype(int))) for row in shown]
