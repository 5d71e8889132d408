"""Dot-product attention: the score is the inner product, unscaled."""

from typing import Any

from attention_harness.reference.algebra import Algebra
from attention_harness.reference.core import attend, repeat_heads
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    WEIGHTS,
    Example,
    Mechanism,
    product_and_sum,
    tensor,
)


def dot_product(query: Any, key: Any, value: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(Q K^\top)\, V$$

    Shapes: query (B, H, Lq, D); key (B, Hk, Lk, D); value (B, Hk, Lk, Dv) -> output (B, H, Lq, Dv), weights
    (B, H, Lq, Lk). H is a multiple of Hk; each key head serves its H / Hk neighbouring query heads.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 003, two-dimensional sample; note 000 applies it after projections.
    """
    heads = query.shape[-3]
    scores = query @ repeat_heads(key, heads).swapaxes(-1, -2)
    return attend(scores, repeat_heads(value, heads), **visibility)


MECHANISM = Mechanism(
    name="dot_product",
    evaluate=dot_product,
    exact=lambda s: s.pairwise(s.dot),
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
        r"S = Q K^\top",
        WEIGHTS,
        SUM,
    ),
    source="note 003, two-dimensional sample",
    algebra=Algebra(decided=lambda p, options: p.matched("query", "key", 1.0)),
    options=(*ATTENTION, *BY_HEAD, "grouped_heads"),
    requires=(("H", "Hk"),),
    examples=(
        Example(
            name="waist_and_chest",
            source="note 003: keys (waist, chest), values (weight, height), two queries",
            inputs={
                "query": [[[[57, 83], [55, 76]]]],
                "key": [[[[51, 70], [56, 82], [56, 82]]]],
                "value": [[[[40, 155], [43, 159], [48, 162]]]],
            },
            scores=[[[[8717, 9998, 9998], [8125, 9312, 9312]]]],
            # The first key's weight is exp(-1187) or less.
            output=[[[[45.5, 160.5], [45.5, 160.5]]]],
            weights=[[[[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]]],
        ),
    ),
)
