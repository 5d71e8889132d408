"""Additive attention (Bahdanau): a one-layer network scores each pair."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import SIDE, Algebra, Decided, Patterns
from attention_harness.reference.core import attend, linear
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    WEIGHTS,
    Example,
    Mechanism,
    Work,
    parameter,
    spread,
    tensor,
)


def additive(query: Any, key: Any, value: Any, W_q: Any, W_k: Any, w_v: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(S)\, V, \quad S_{ij} = w_v^\top \tanh(W_q q_i + W_k k_j)$$

    Shapes: query (B, H, Lq, Dq); key (B, H, Lk, Dk); value (B, H, Lk, Dv); W_q (A, Dq); W_k (A, Dk); w_v (A) ->
    output (B, H, Lq, Dv), weights (B, H, Lq, Lk). The parameters serve every head.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: notes 003 and 004, `AdditiveAttention`; Bahdanau et al. 2015.
    """
    features = linear(query, W_q)[..., :, None, :] + linear(key, W_k)[..., None, :, :]
    return attend(np.tanh(features) @ w_v, value, **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    return s.pairwise(lambda q, k: s.tanh_sum(s.layer(q, s.x["W_q"]) + s.layer(k, s.x["W_k"]), s.x["w_v"]))


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return two layers over the positions, and over the pairs a product with w_v and the sum of values."""
    return Work(
        pairs=2 * pairs * (s["A"] + s["Dv"]),
        projections=2 * s["B"] * s["H"] * (s["Lq"] * s["Dq"] + s["Lk"] * s["Dk"]) * s["A"],
        tanh=pairs * s["A"],
    )


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided:
    """Return one key that is best for all queries: no sum of features knows a pattern again."""
    arrays = {"key": p.one_key("key"), "query": p.zeros("query"), "w_v": p.filled("w_v", 1.0)}
    arrays["W_k"] = p.filled("W_k", np.arange(p.shapes["W_k"][1]) == 0, 1.0)
    return Decided(arrays, p.middle, 2 * p.sizes["A"] * SIDE * float(np.tanh(SIDE)))


MECHANISM = Mechanism(
    name="additive",
    evaluate=additive,
    exact=_exact,
    work=_work,
    inputs=(
        tensor("query", "B H Lq Dq", "what is looked for"),
        tensor("key", "B H Lk Dk", "what it is compared with"),
        tensor("value", "B H Lk Dv", "what is fetched"),
        parameter("W_q", "A Dq", "query projection"),
        parameter("W_k", "A Dk", "key projection"),
        parameter("w_v", "A", "weights of the hidden features"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    features="A",
    kind="scores",
    steps=(
        "W_q q_i",
        "W_k k_j",
        r"S_{ij} = w_v^\top \tanh(W_q q_i + W_k k_j)",
        WEIGHTS,
        SUM,
    ),
    source="notes 003 and 004",
    algebra=Algebra(decided=_decided),
    options=(*ATTENTION, *BY_HEAD),
    examples=(
        Example(
            name="valid_lens",
            source="notes 003 and 004: queries (2, 1, 20), keys of ones (2, 10, 2), values 0..39, lengths [2, 6]",
            # Equal keys give equal scores, whatever the query and the parameters are.
            inputs={
                "query": spread(2, 1, 1, 20),
                "key": np.ones((2, 1, 10, 2)),
                "value": np.broadcast_to(np.arange(40.0).reshape(10, 4), (2, 1, 10, 4)),
                "W_q": spread(8, 20),
                "W_k": spread(8, 2),
                "w_v": spread(8),
            },
            options={"valid_lens": [2, 6]},
            output=[[[[2, 3, 4, 5]]], [[[10, 11, 12, 13]]]],
        ),
    ),
)
