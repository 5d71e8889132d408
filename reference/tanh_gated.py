"""Attention of a hidden state over encoder outputs that pass through a tanh layer first."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import LARGE, SIDE, Algebra, Decided, Patterns
from attention_harness.reference.core import attend, linear
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    WEIGHTS,
    Erratum,
    Mechanism,
    Work,
    parameter,
    tensor,
)


def tanh_gated(query: Any, key: Any, value: Any, W: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(S)\, V, \quad S_{ij} = \tanh(W k_j) \cdot q_i$$

    Shapes: query (B, H, Lq, Dq); key (B, H, Lk, Dk); value (B, H, Lk, Dv); W (Dq, Dk) -> output (B, H, Lq, Dv),
    weights (B, H, Lq, Lk). In the note K = V = encoder outputs and the query is the one hidden state.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 002, first layer.
    """
    gated = np.tanh(linear(key, W))
    return attend(query @ gated.swapaxes(-1, -2), value, **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    return s.pairwise(lambda q, k: s.tanh_sum(s.layer(k, s.x["W"]), q))


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return the layer over the keys, and over the pairs the scores and the sum of values."""
    keys = s["B"] * s["H"] * s["Lk"]
    return Work(2 * pairs * (s["Dq"] + s["Dv"]), 2 * keys * s["Dk"] * s["Dq"], keys * s["Dq"])


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of the keys, which are signs behind the tanh, and large ones of the queries."""
    width = p.sizes["Dq"]
    if min(width, p.sizes["Dk"]) < p.bits:
        return None
    arrays = {"key": p.code("key", np.arange(p.keys)), "W": p.repeated("W", width)}
    arrays["query"] = p.code("query", p.best, LARGE)
    return Decided(arrays, p.best, 2 * LARGE * float(np.tanh(SIDE)))


MECHANISM = Mechanism(
    name="tanh_gated",
    evaluate=tanh_gated,
    exact=_exact,
    work=_work,
    inputs=(
        tensor("query", "B H Lq Dq", "hidden state"),
        tensor("key", "B H Lk Dk", "encoder outputs"),
        tensor("value", "B H Lk Dv", "encoder outputs, or what stands for them"),
        parameter("W", "Dq Dk", "layer over the encoder outputs"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    kind="scores",
    steps=(
        "W k_j",
        r"S_{ij} = \tanh(W k_j) \cdot q_i",
        WEIGHTS,
        SUM,
    ),
    source="note 002",
    algebra=Algebra(decided=_decided),
    options=(*ATTENTION, *BY_HEAD),
    errata=(
        Erratum(
            source="note 002, first layer",
            says="attn_weights = Linear(hidden_dim, 1), then matmul of (B, L, 1) with (B, hidden_dim, 1)",
            right="Linear(hidden_dim, hidden_dim): the product with the hidden state needs its width; as written it "
            "fails unless hidden_dim is 1",
            shown_by="tests/reference/test_errata.py::test_the_gated_layer_of_the_note_fails_unless_hidden_is_one",
        ),
    ),
)
