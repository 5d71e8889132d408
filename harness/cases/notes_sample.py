"""The notes' two-dimensional sample as the input of every mechanism, so that all formulas are seen on one problem.

Note 003 looks up weight and height by waist and chest: keys, values and queries of two numbers each. It puts them
through the dot product. Here they go through the other formulas, with parameters that keep the numbers small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.specification import Mechanism

Array = np.ndarray[Any, np.dtype[np.float64]]

QUERIES = np.array([[57.0, 83.0], [55.0, 76.0]])
KEYS = np.array([[51.0, 70.0], [56.0, 82.0], [56.0, 82.0]])
VALUES = np.array([[40.0, 155.0], [43.0, 159.0], [48.0, 162.0]])

IN_WORDS = (
    "Ours, since the notes put these numbers through the dot product alone: the two-dimensional sample of note 003, "
    "waist and chest in cm, to look up weight and height"
)
METRES = "divided by 100"
IN_METRES = f"W_q and W_k are the identity, {METRES}: centimetres become metres"
BY_NAME = {
    "cross_attention": f"The queries are the sequence that asks, the keys the one that answers; {IN_METRES}",
    "differential_attention": "Queries and keys are in metres. The second query is 0, so that its map is uniform; all "
    "lambda vectors are 0, so that lambda is 0.8",
    "latent_attention": "The keys are the latents. W_k is the identity divided by 10,000, W_v the identity; the rotary "
    "parts are 0",
    "linear_attention": "Three positions: the keys, in metres, are the queries too",
    "location": "Each query has one of the keys at its side, and the values are the fixed positions. W is 1 on its "
    f"diagonal, {METRES}; W_c hands on the context",
    "multi_head": f"Two heads: the one compares waists, the other chests; {IN_METRES}",
    "projected": IN_METRES,
    "additive": f"{IN_METRES}; w_v is 1",
    "concat_tanh": f"W is [I, I], {METRES}: centimetres become metres",
    "tanh_gated": f"W is the identity, {METRES}: centimetres become metres",
    "self_attention": "The keys are the sequence, in metres",
    "positional_encoding": "The keys are the sequence, in metres",
    "rotary_embedding": "The keys are the sequence, in metres",
}
"""What stands for what, by mechanism."""

_TENSORS = {"query": QUERIES, "key": KEYS, "value": VALUES, "latent": KEYS, "context": KEYS, "sequence": KEYS / 100}
_OWN: dict[str, Mapping[str, Array]] = {
    "cross_attention": {"sequence": QUERIES},
    "differential_attention": {
        "query_1": QUERIES / 100,
        "query_2": np.zeros((2, 2)),
        "key_1": KEYS / 100,
        "key_2": KEYS / 100,
    },
    "latent_attention": {
        "query_rotary": np.zeros((2, 2)),
        "key_rotary": np.zeros((3, 2)),
        "W_k": np.eye(2)[None] / 10_000,
        "W_v": np.eye(2)[None],
    },
    "linear_attention": {"query": KEYS / 100, "key": KEYS / 100},
    "location": {
        "key": KEYS[:2],
        "W": np.eye(3, 4) / 100,
        "b": np.zeros(3),
        "W_c": np.eye(2, 4, 2),
        "b_c": np.zeros(2),
    },
    "concat_tanh": {"W": np.eye(2, 4) / 100 + np.eye(2, 4, 2) / 100, "b": np.zeros(2)},
    "tanh_gated": {"W": np.eye(2) / 100},
}
_PARAMETERS = {"W_q": np.eye(2) / 100, "W_k": np.eye(2) / 100, "W_v": np.eye(2), "W_o": np.eye(2), "w_v": np.ones(2)}


def sample(known: Mechanism) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the sample as inputs of a mechanism, and the choices and settings beside it; no inputs if none fit."""
    found = _TENSORS | _PARAMETERS | {f"lambda_{name}": np.zeros(2) for name in ("q1", "k1", "q2", "k2")}
    found |= _OWN.get(known.name, {})
    if not all(declared.name in found for declared in known.inputs):
        return {}, {}
    arrays = {}
    for declared in known.inputs:
        array = np.asarray(found[declared.name], np.float64)
        arrays[declared.name] = array.reshape((1,) * (len(declared.axes) - array.ndim) + array.shape)
    arguments: dict[str, Any] = {name: values[0] for name, values in known.choices.items()}
    return arrays, arguments | dict.fromkeys(known.settings, 2)
