"""Multi-head attention: scaled dot product in several subspaces side by side, then an output projection."""

from typing import Any

from attention_harness.reference.core import linear, merge_heads, split_heads
from attention_harness.reference.scaled_dot_product import scaled_dot_product
from attention_harness.reference.specification import ATTENTION, Erratum, Mechanism, parameter, tensor


def multi_head(
    query: Any,
    key: Any,
    value: Any,
    W_q: Any,
    W_k: Any,
    W_v: Any,
    W_o: Any,
    *,
    heads: int,
    **visibility: Any,
) -> tuple[Any, Any]:
    r"""$$O = [O_1; \dots; O_H]\, W_o^\top, \quad
    O_h = \operatorname{softmax}\left(\frac{Q_h K_h^\top}{\sqrt{E/H}}\right) V_h, \quad
    [Q_1; \dots; Q_H] = Q W_q^\top, \dots$$

    Shapes: query (B, Lq, Eq); key (B, Lk, Ek); value (B, Lk, Ev); W_q (E, Eq); W_k (E, Ek); W_v (E, Ev); W_o (O, E)
    -> output (B, Lq, O), weights (B, H, Lq, Lk). Head h owns columns h E/H to (h + 1) E/H. Lengths serve every head.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 004, `MultiHeadAttention`; Vaswani et al. 2017, section 3.2.2.
    """
    projections = ((query, W_q), (key, W_k), (value, W_v))
    per_head = (split_heads(linear(x, weight), heads) for x, weight in projections)
    output, weights = scaled_dot_product(*per_head, **visibility)
    return linear(merge_heads(output), W_o), weights


MECHANISM = Mechanism(
    name="multi_head",
    evaluate=multi_head,
    inputs=(
        tensor("query", "B Lq Eq", "what is looked for"),
        tensor("key", "B Lk Ek", "what it is compared with"),
        tensor("value", "B Lk Ev", "what is fetched"),
        parameter("W_q", "E Eq", "query projection of all heads"),
        parameter("W_k", "E Ek", "key projection of all heads"),
        parameter("W_v", "E Ev", "value projection of all heads"),
        parameter("W_o", "O E", "output projection"),
    ),
    output=("B", "Lq", "O"),
    scores=("B", "H", "Lq", "Lk"),
    source="note 004",
    options=ATTENTION,
    settings={"heads": "H"},
    requires=(("E", "H"),),
    errata=(
        Erratum(
            source="note 004, MultiHeadAttention and AdditiveAttention",
            says="the one uses transpose_qkv and transpose_output, the other masked_softmax",
            right="they are never defined: split_heads and merge_heads, (B, L, H D) <-> (B, H, L, D), and the masked "
            "softmax of note 003",
            shown_by="tests/reference/test_errata.py::test_the_multi_head_module_uses_undefined_functions",
        ),
    ),
)
