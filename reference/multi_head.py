"""Multi-head attention: scaled dot product in several subspaces side by side, then an output projection."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import Algebra, Arrays, Decided, Fetched, Patterns, Sizes
from attention_harness.reference.core import linear, merge_heads, split_heads
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.scaled_dot_product import scaled_dot_product
from attention_harness.reference.specification import ATTENTION, BY_HEAD, Erratum, Mechanism, Work, parameter, tensor


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


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    heads = s.o["heads"]

    def split(name: str, weight: str) -> Any:
        flat = s.layer(s.x[name], s.x[weight])
        batch, length, width = flat.shape
        each = width // heads
        return table((batch, heads, length, each), lambda b, h, i, c: flat[b, i, h * each + c])

    q, k, v = split("query", "W_q"), split("key", "W_k"), split("value", "W_v")
    output, weights = s.attend(s.scaled(q.shape[-1]), q, k, v)
    batch, _, length, each = output.shape
    merged = table((batch, length, heads * each), lambda b, i, c: output[b, c // each, i, c % each])
    return s.layer(merged, s.x["W_o"]), weights


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return four layers over the positions, and over the pairs the scores and the sum of values of each head."""
    widths = s["Lq"] * (s["Eq"] + s["O"]) + s["Lk"] * (s["Ek"] + s["Ev"])
    return Work(4 * pairs * (s["E"] // s["H"]), 2 * s["B"] * s["E"] * widths)


def _fetched(x: Arrays, sizes: Sizes) -> Fetched:
    """Return the value through its projection and the head's columns of the output projection, summed over heads."""
    heads, width = sizes["H"], sizes["E"] // sizes["H"]
    values = x["value"] @ x["W_v"].T
    split = values.reshape(*values.shape[:-1], heads, width).swapaxes(1, 2)  # (B, H, Lk, E / H)
    columns = x["W_o"].reshape(sizes["O"], heads, width)
    return Fetched(np.einsum("bhkd,ohd->bhko", split, columns)[:, :, None], joined=True)


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of query and key that every head sees whole."""
    width = p.sizes["E"] // p.sizes["H"]
    projections = {name: p.repeated(name, width) for name in ("W_q", "W_k")}
    return p.matched("query", "key", width**-0.5, width, **projections)


MECHANISM = Mechanism(
    name="multi_head",
    evaluate=multi_head,
    exact=_exact,
    work=_work,
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
    kind="layers",
    steps=(
        r"[Q_1; \dots; Q_H] = Q W_q^\top",
        r"[K_1; \dots; K_H] = K W_k^\top",
        r"[V_1; \dots; V_H] = V W_v^\top",
        r"S_h = \frac{Q_h K_h^\top}{\sqrt{E/H}}",
        "",
        r"P_h = \operatorname{softmax}(S_h)",
        r"O = [P_1 V_1; \dots; P_H V_H]\, W_o^\top",
    ),
    source="note 004",
    algebra=Algebra(checks=("relation.one_head",), fetched=_fetched, decided=_decided),
    options=(*ATTENTION, *BY_HEAD),
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
