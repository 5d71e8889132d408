"""Concatenation attention: query and key side by side through one layer, its features summed."""

from typing import Any

import numpy as np

from attention_harness.reference.core import attend, linear
from attention_harness.reference.specification import ATTENTION, Mechanism, parameter, tensor


def concat_tanh(query: Any, key: Any, value: Any, W: Any, b: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(S)\, V, \quad S_{ij} = \textstyle\sum_a \tanh(W [q_i; k_j] + b)_a$$

    Shapes: query (B, H, Lq, Dq); key (B, H, Lk, Dk); value (B, H, Lk, Dv); W (A, Dq + Dk);
    b (A) -> output (B, H, Lq, Dv), weights (B, H, Lq, Lk). Equals `additive` with w_v = 1, b = 0.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 001, second formula, read pairwise.
    """
    pairs = (query[..., :, None, :], key[..., None, :, :])
    return attend(np.tanh(linear(pairs, W, b)).sum(-1), value, **visibility)


MECHANISM = Mechanism(
    name="concat_tanh",
    evaluate=concat_tanh,
    inputs=(
        tensor("query", "B H Lq Dq", "what is looked for"),
        tensor("key", "B H Lk Dk", "what it is compared with"),
        tensor("value", "B H Lk Dv", "what is fetched"),
        parameter("W", "A Dq+Dk", "weight of the layer over the concatenation"),
        parameter("b", "A", "its bias"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    features="A",
    source="note 001",
    options=ATTENTION,
)
