"""Attention after linear projections of query, key and value, with the score of choice."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from attention_harness.reference.algebra import Algebra, Arrays, Decided, Fetched, Patterns, Sizes
from attention_harness.reference.core import linear
from attention_harness.reference.cosine import cosine, exact_score
from attention_harness.reference.dot_product import dot_product
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.scaled_dot_product import scaled_dot_product
from attention_harness.reference.specification import (
    ATTENTION,
    WEIGHTS,
    Erratum,
    Example,
    Mechanism,
    Work,
    parameter,
    spread,
    tensor,
)

_SCORES = {"dot_product": dot_product, "cosine": cosine, "scaled_dot_product": scaled_dot_product}


def projected(
    query: Any, key: Any, value: Any, W_q: Any, W_k: Any, W_v: Any, *, score: str, **visibility: Any
) -> tuple[Any, Any]:
    r"""$$O = \operatorname{attention}_\text{score}(Q W_q^\top,\; K W_k^\top,\; V W_v^\top)$$

    Shapes: query (B, Lq, Eq); key (B, Lk, Ek); value (B, Lk, Ev); W_q (D, Eq); W_k (D, Ek); W_v (Dv, Ev) ->
    output (B, Lq, Dv), weights (B, Lq, Lk). score: dot_product, cosine or scaled_dot_product; another raises
    ValueError.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 000, `Attention` with 'dot' and 'cosine'; note 002, second layer; note 003 for the scaled score.
    """
    if score not in _SCORES:
        raise ValueError(f"unknown score {score!r}; known: {', '.join(_SCORES)}")
    return _SCORES[score](linear(query, W_q), linear(key, W_k), linear(value, W_v), **visibility)


_EXACT = {
    "dot_product": lambda s, width: s.dot,
    "cosine": lambda s, width: partial(exact_score, s),
    "scaled_dot_product": lambda s, width: s.scaled(width),
}


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    q, k, v = (s.layer(s.x[name], s.x[weight]) for name, weight in (("query", "W_q"), ("key", "W_k"), ("value", "W_v")))
    return s.attend(_EXACT[s.o["score"]](s, q.shape[-1]), q, k, v)


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return three layers over the positions, and over the pairs the scores and the sum of values."""
    widths = s["Lq"] * s["Eq"] * s["D"] + s["Lk"] * (s["Ek"] * s["D"] + s["Ev"] * s["Dv"])
    return Work(2 * pairs * (s["D"] + s["Dv"]), 2 * s["B"] * widths)


def _fetched(x: Arrays, sizes: Sizes) -> Fetched:
    """Return the value through its projection."""
    return Fetched((x["value"] @ x["W_v"].T)[:, None, None])


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of query and key that the projections keep; a cosine is bounded, and decides nothing."""
    width = p.sizes["D"]
    factor = {"dot_product": 1.0, "scaled_dot_product": width**-0.5}.get(options["score"])
    projections = {name: p.repeated(name, width) for name in ("W_q", "W_k")}
    return None if factor is None else p.matched("query", "key", factor, width, **projections)


MECHANISM = Mechanism(
    name="projected",
    evaluate=projected,
    exact=_exact,
    work=_work,
    inputs=(
        tensor("query", "B Lq Eq", "decoder hidden state"),
        tensor("key", "B Lk Ek", "encoder outputs"),
        tensor("value", "B Lk Ev", "encoder outputs"),
        parameter("W_q", "D Eq", "query projection"),
        parameter("W_k", "D Ek", "key projection"),
        parameter("W_v", "Dv Ev", "value projection"),
    ),
    output=("B", "Lq", "Dv"),
    scores=("B", "Lq", "Lk"),
    kind="layers",
    steps=(
        r"Q W_q^\top",
        r"K W_k^\top",
        r"V W_v^\top",
        r"S = \operatorname{score}(Q W_q^\top,\; K W_k^\top)",
        WEIGHTS,
        r"O = P\, V W_v^\top",
    ),
    source="notes 000 and 002",
    algebra=Algebra(fetched=_fetched, decided=_decided),
    options=ATTENTION,
    choices={"score": ("dot_product", "cosine", "scaled_dot_product")},
    examples=tuple(
        Example(
            name=f"hidden_256_{score}",
            source="note 000: batch 10, hidden size 256, length 12",
            inputs={
                "query": spread(10, 1, 256),
                "key": spread(10, 12, 256),
                "value": spread(10, 12, 256),
                "W_q": spread(256, 256) / 64,
                "W_k": spread(256, 256)[::-1] / 64,
                "W_v": spread(256, 256) / 64,
            },
            options={"score": score},
            shapes={"output": (10, 1, 256), "weights": (10, 1, 12)},
        )
        for score in ("dot_product", "cosine")
    ),
    errata=(
        Erratum(
            source="note 002",
            says="K has shape (seq_len, hidden_dim); the first layer's attn_weights stays beside W_q, W_k and W_v",
            right="K has shape (batch, seq_len, hidden_dim), as the code uses it; attn_weights is never called",
            shown_by="tests/reference/test_errata.py::test_the_key_of_the_projected_layer_has_a_batch_axis",
        ),
    ),
)
