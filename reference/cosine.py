"""Cosine attention: the score is the cosine of the angle between query and key."""

from functools import partial
from typing import Any

from attention_harness.reference.algebra import Algebra
from attention_harness.reference.core import attend, normalise, repeat_heads
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    WEIGHTS,
    Erratum,
    Mechanism,
    product_and_sum,
    tensor,
)


def cosine(query: Any, key: Any, value: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(S)\, V, \quad S_{ij} = \frac{q_i \cdot k_j}{\lVert q_i \rVert \lVert k_j \rVert}$$

    Shapes: query (B, H, Lq, D); key (B, Hk, Lk, D); value (B, Hk, Lk, Dv) -> output (B, H, Lq, Dv), weights
    (B, H, Lq, Lk). A zero vector has cosine 0 with everything.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 000, `attention_type='cosine'`.
    """
    heads = query.shape[-3]
    scores = normalise(query) @ repeat_heads(normalise(key), heads).swapaxes(-1, -2)
    return attend(scores, repeat_heads(value, heads), **visibility)


def exact_score(s: Scalars, q: Any, k: Any) -> Any:
    """Return the cosine of two vectors at 50 digits."""
    length = s.mp.sqrt(s.dot(q, q)) * s.mp.sqrt(s.dot(k, k))
    return s.dot(q, k) / length if length else s.mp.zero


MECHANISM = Mechanism(
    name="cosine",
    evaluate=cosine,
    exact=lambda s: s.pairwise(partial(exact_score, s)),
    work=product_and_sum,
    inputs=(
        tensor("query", "B H Lq D", "what is looked for"),
        tensor("key", "B Hk Lk D", "what it is compared with"),
        tensor("value", "B Hk Lk Dv", "what is fetched"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    kind="scores",
    steps=(
        r"S_{ij} = \frac{q_i \cdot k_j}{\lVert q_i \rVert \lVert k_j \rVert}",
        WEIGHTS,
        SUM,
    ),
    source="note 000",
    algebra=Algebra(checks=("relation.cosine_scaling",)),
    options=(*ATTENTION, *BY_HEAD, "grouped_heads"),
    requires=(("H", "Hk"),),
    errata=(
        Erratum(
            source="note 000, attention_type='cosine'",
            says="query / query.norm(dim=-1, keepdim=True): a zero vector is 0/0 = NaN, and its whole row with it",
            right="a zero vector scores 0 with every key, the limit that keeps the scores bounded by 1",
            shown_by="tests/reference/test_errata.py::test_a_zero_vector_is_nan_in_the_note_and_scores_zero_here",
        ),
    ),
)
