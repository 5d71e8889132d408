"""Cross attention: one sequence asks, another answers, and the answer is added to the asker."""

from collections.abc import Mapping
from typing import Any

from attention_harness.reference.algebra import Algebra, Arrays, Decided, Fetched, Patterns, Sizes
from attention_harness.reference.core import linear
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.scaled_dot_product import scaled_dot_product
from attention_harness.reference.specification import (
    ATTENTION,
    WEIGHTS,
    Mechanism,
    Work,
    parameter,
    tensor,
)


def cross_attention(sequence: Any, context: Any, W_q: Any, W_k: Any, W_v: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$\hat E = E + \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V, \quad
    Q = E W_q^\top,\; K = C W_k^\top,\; V = C W_v^\top$$

    Shapes: sequence E (B, Lq, E); context C (B, Lk, E); W_q (D, E); W_k (D, E); W_v (E, E) -> output (B, Lq, E),
    weights (B, Lq, Lk). The asking sequence sets the output's length; both have the same embedding width.
    Fully masked rows: a position that sees no context has zero weights and keeps its embedding.
    Source: note 000, Cross Attention.
    """
    query, key, value = linear(sequence, W_q), linear(context, W_k), linear(context, W_v)
    change, weights = scaled_dot_product(query, key, value, **visibility)
    return sequence + change, weights


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    sequence, context = s.x["sequence"], s.x["context"]
    q, k, v = s.layer(sequence, s.x["W_q"]), s.layer(context, s.x["W_k"]), s.layer(context, s.x["W_v"])
    change, weights = s.attend(s.scaled(q.shape[-1]), q, k, v)
    return table(change.shape, lambda *at: sequence[at] + change[at]), weights


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return three layers over the positions, and over the pairs the scores and the sum of values."""
    widths = s["D"] * (s["Lq"] + s["Lk"]) + s["Lk"] * s["E"]
    return Work(2 * pairs * (s["D"] + s["E"]), 2 * s["B"] * s["E"] * widths)


def _fetched(x: Arrays, sizes: Sizes) -> Fetched:
    """Return the context through its projection, added to the asking sequence."""
    return Fetched((x["context"] @ x["W_v"].T)[:, None, None], offset=x["sequence"])


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of both sequences that the projections keep."""
    width = p.sizes["D"]
    projections = {name: p.repeated(name, width) for name in ("W_q", "W_k")}
    return p.matched("sequence", "context", width**-0.5, width, **projections)


MECHANISM = Mechanism(
    name="cross_attention",
    evaluate=cross_attention,
    exact=_exact,
    work=_work,
    inputs=(
        tensor("sequence", "B Lq E", "embeddings that are updated; they ask", symbol="E"),
        tensor("context", "B Lk E", "embeddings of the other sequence; they answer", symbol="C"),
        parameter("W_q", "D E", "query projection"),
        parameter("W_k", "D E", "key projection"),
        parameter("W_v", "E E", "value projection"),
    ),
    output=("B", "Lq", "E"),
    scores=("B", "Lq", "Lk"),
    kind="layers",
    steps=(
        r"Q = E W_q^\top",
        r"K = C W_k^\top",
        r"V = C W_v^\top",
        r"S = \frac{Q K^\top}{\sqrt{D}}",
        WEIGHTS,
        r"\hat E = E + P\, V",
    ),
    source="note 000",
    algebra=Algebra(checks=("relation.cross_with_itself",), linear="W_v", fetched=_fetched, decided=_decided),
    options=ATTENTION,
)
