"""Masks with a structure show what their names say, in few keys and past a tile, and differ by batch element."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.rows import rows
from attention_harness.options import _structures

CASE = parse("scaled_dot_product-B3H2Hk2Lq5Lk7D8Dv8-float32-mask=band-ordinary-contiguous")
FEW, MANY = {"Lq": 5, "Lk": 7}, {"Lq": 140, "Lk": 200}
SIZES = pytest.mark.parametrize("sizes", [FEW, MANY], ids=["few", "many"])


def mask(form: str, sizes: dict[str, int]) -> np.ndarray:
    """Return the mask in the shape of the scores."""
    case = replace(CASE, sizes=dict(CASE.sizes) | sizes, options={"mask": form})
    return np.broadcast_to(inputs.tensors(case)["mask"].numpy(), (3, 2, sizes["Lq"], sizes["Lk"]))


@SIZES
def test_left_padding_hides_first_keys_alone(sizes):
    """None in the first batch element, all but one in the last, as many for every query."""
    seen = mask("left_padding", sizes)
    assert (np.diff(seen.astype(int)) >= 0).all()
    assert [sizes["Lk"], 1] == [int(n) for n in seen.sum(-1)[[0, -1], 0, 0]]
    assert 3 == len({*seen.sum(-1)[:, 0, 0].tolist()})


@SIZES
@pytest.mark.parametrize(("form", "first"), [("first", 0), ("middle", 1), ("last", -1)])
def test_a_whole_block_is_hidden_from_every_query(form, first, sizes):
    """64 keys where there are many, a third of them otherwise, and no other key."""
    length = 64 if sizes is MANY else 2
    [hidden] = {tuple(np.flatnonzero(~row)) for row in mask(f"{form}_block_hidden", sizes).reshape(-1, sizes["Lk"])}
    start = sizes["Lk"] - length if first < 0 else first * length
    assert tuple(range(start, start + length)) == hidden


@SIZES
def test_a_checkerboard_has_whole_tiles_of_both_kinds(sizes):
    """Of as many queries as keys; neighbours differ."""
    seen, tile = mask("checkerboard", sizes)[0, 0], 64 if sizes is MANY else 2
    corner = 64 if sizes is MANY else 1
    assert seen[:corner, :tile].all()
    assert not seen[:corner, tile : 2 * tile].any()


@SIZES
def test_a_band_lies_about_the_diagonal(sizes):
    """Two keys on either side; the first query sees the first key, and the last the last."""
    seen = mask("band", sizes)[0, 0]
    assert seen[0, 0]
    assert seen[-1, -1]
    assert {3, 4, 5} >= set(seen.sum(-1).tolist())


@SIZES
def test_one_key_differs_by_head_and_batch(sizes):
    """Every row sees one, and no two heads see the same throughout."""
    seen = mask("one_key", sizes)
    assert (seen.sum(-1) == 1).all()
    assert 6 == len({head.tobytes() for head in seen.reshape(6, -1)})


@SIZES
def test_documents_are_blocks_that_differ_by_batch(sizes):
    """Two in the first batch element, one more in each further: queries of one see the same keys, each key is seen."""
    seen = mask("documents", sizes)
    assert [2, 3, 4] == [len({row.tobytes() for row in batch[0]}) for batch in seen]
    assert seen.any(-2).all()
    assert seen.any(-1).all()


@pytest.mark.parametrize("form", _structures.FORMS)
def test_every_structure_is_asked_past_a_tile(form):
    """A structure has rows of its own: no factor combines it."""
    asked = [row for row in rows() if row.options.get("mask") == form]
    assert len(asked) >= 3
    assert max(row.lengths[1] for row in asked) > 128
    assert {"mixed", "columns"} <= {row.layout for row in asked}
