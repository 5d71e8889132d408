"""Concatenation attention: query and key side by side through one layer, its features summed."""

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
    Mechanism,
    Work,
    parameter,
    tensor,
)


def concat_tanh(query: Any, key: Any, value: Any, W: Any, b: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(S)\, V, \quad S_{ij} = \textstyle\sum_a \tanh(W [q_i; k_j] + b)_a$$

    Shapes: query (B, H, Lq, Dq); key (B, H, Lk, Dk); value (B, H, Lk, Dv); W (A, Dq + Dk);
    b (A) -> output (B, H, Lq, Dv), weights (B, H, Lq, Lk). Equals `additive` with w_v = 1, b = 0.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 001, second formula, read pairwise.
    """
    pairs = (query[..., :, None, :], key[..., None, :, :])
    return attend(np.tanh(linear(pairs, W, b)).sum(-1), value, **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    ones = [1] * len(s.x["b"])
    return s.pairwise(lambda q, k: s.tanh_sum(s.layer(np.concatenate([q, k]), s.x["W"], s.x["b"]), ones))


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return the layer's two halves over the positions, and over the pairs the sum of values: features are added up."""
    return Work(
        pairs=2 * pairs * s["Dv"],
        projections=2 * s["B"] * s["H"] * (s["Lq"] * s["Dq"] + s["Lk"] * s["Dk"]) * s["A"],
        tanh=pairs * s["A"],
    )


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided:
    """Return one key that is best for all queries: no sum of features knows a pattern again."""
    arrays = {"key": p.one_key("key"), "query": p.zeros("query"), "b": p.zeros("b")}
    arrays["W"] = p.filled("W", np.arange(p.shapes["W"][1]) == p.shapes["query"][-1], 1.0)
    return Decided(arrays, p.middle, 2 * p.sizes["A"] * float(np.tanh(SIDE)))


MECHANISM = Mechanism(
    name="concat_tanh",
    evaluate=concat_tanh,
    exact=_exact,
    work=_work,
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
    kind="scores",
    steps=(
        "",
        r"S_{ij} = \textstyle\sum_a \tanh(W [q_i; k_j] + b)_a",
        WEIGHTS,
        SUM,
    ),
    source="note 001",
    algebra=Algebra(decided=_decided),
    options=(*ATTENTION, *BY_HEAD),
)
