"""Masks with a structure, as they occur: each form is a name, its shape, and which keys its queries see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attention_harness.options.option import Draw

_BLOCK = 64
_NEAR = 2  # keys that a band shows on either side

FORMS = {
    "left_padding": "batch",
    "first_block_hidden": "query",
    "middle_block_hidden": "query",
    "last_block_hidden": "query",
    "checkerboard": "query",
    "band": "query",
    "one_key": "full",
    "documents": "batch_query",
}
"""Each structure, and the form whose axes it has."""


def drawn(draw: Draw) -> NDArray[np.bool_]:
    """Return which keys each query sees."""
    return np.array(np.broadcast_to(_SEEN[draw.form](draw), draw.shape))


def _left_padding(draw: Draw) -> NDArray[np.bool_]:
    """Hide the first keys: another number of them in each batch element, up to all but one; none in the first."""
    batch, keys = draw.shape[0], draw.keys
    hidden = np.arange(batch) * max(keys - 1, 0) // max(batch - 1, 1)
    return np.arange(keys) >= hidden.reshape(batch, *[1] * (len(draw.shape) - 1))


def _block(keys: int) -> int:
    """Return the length of a block: 64 where there are two of them and more, otherwise a third of the keys."""
    return _BLOCK if keys > 2 * _BLOCK else max(keys // 3, 1)


def _hidden_block(draw: Draw, first: int) -> NDArray[np.bool_]:
    place = np.arange(draw.keys)
    return (place < first) | (place >= first + _block(draw.keys))


def _checkerboard(draw: Draw) -> NDArray[np.bool_]:
    """Show every other tile of queries and keys, so that whole tiles are hidden and whole tiles are seen."""
    queries, keys = (np.arange(length) // _block(length) for length in draw.shape[-2:])
    return (queries[:, None] + keys) % 2 == 0


def _band(draw: Draw) -> NDArray[np.bool_]:
    """Show the keys around the diagonal from the first query and key to the last."""
    queries, keys = draw.shape[-2:]
    centre = np.arange(queries)[:, None] * max(keys - 1, 0) // max(queries - 1, 1)
    return np.abs(np.arange(keys) - centre) <= _NEAR


def _one_key(draw: Draw) -> NDArray[np.bool_]:
    """Show each row a single key."""
    place = draw.whole_numbers(draw.keys)[..., :1]
    return np.arange(draw.keys) == place


def _documents(draw: Draw) -> NDArray[np.bool_]:
    """Show each query its own document: as many as batch elements before it, and two, in parts of equal length."""
    parts = np.arange(draw.shape[0]).reshape(-1, *[1] * (len(draw.shape) - 1)) + 2
    queries, keys = (np.arange(length) / max(length, 1) for length in draw.shape[-2:])
    return np.floor(queries[:, None] * parts) == np.floor(keys * parts)


_SEEN = {
    "left_padding": _left_padding,
    "first_block_hidden": lambda draw: _hidden_block(draw, 0),
    "middle_block_hidden": lambda draw: _hidden_block(draw, _block(draw.keys)),
    "last_block_hidden": lambda draw: _hidden_block(draw, draw.keys - _block(draw.keys)),
    "checkerboard": _checkerboard,
    "band": _band,
    "one_key": _one_key,
    "documents": _documents,
}
