"""Location attention: query and key choose among fixed positions, and a layer combines query and context."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import SIDE, Algebra, Arrays, Decided, Fetched, Patterns, Sizes
from attention_harness.reference.core import attend, linear
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.specification import (
    SCORED,
    Erratum,
    Example,
    Mechanism,
    Work,
    parameter,
    spread,
    tensor,
)


def location(
    query: Any, key: Any, value: Any, W: Any, b: Any, W_c: Any, b_c: Any, **visibility: Any
) -> tuple[Any, Any]:
    r"""$$O = W_c [Q; C] + b_c, \quad C = \operatorname{softmax}(W [Q; K] + b)\, V$$

    Shapes: query (B, Lq, Dq); key (B, Lq, Dk), one for each query; value (B, P, Dv) over P fixed positions; W (P, Dq +
    Dk); b (P); W_c (O, Dq + Dv); b_c (O) -> output (B, Lq, O), weights (B, Lq, P).
    Fully masked rows: a query that sees no position has zero weights; its output is W_c [q; 0] + b_c.
    Source: note 001, first formula, with the seq2seq module's `attn_combine`.
    """
    context, weights = attend(linear((query, key), W, b), value, **visibility)
    return linear((query, context), W_c, b_c), weights


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    scores = s.layer(np.concatenate([s.x["query"], s.x["key"]], -1), s.x["W"], s.x["b"])
    weights = s.softmax(lambda *at: scores[at], scores.shape)
    value = s.x["value"]
    context = table((*scores.shape[:-1], value.shape[-1]), lambda b, i, c: s.dot(weights[b, i], value[b, :, c]))
    return s.layer(np.concatenate([s.x["query"], context], -1), s.x["W_c"], s.x["b_c"]), weights


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return the scoring and the combining layer over the queries, and the sum of values over the pairs."""
    widths = s["P"] * (s["Dq"] + s["Dk"]) + s["O"] * (s["Dq"] + s["Dv"])
    return Work(2 * pairs * s["Dv"], 2 * s["B"] * s["Lq"] * widths)


def _fetched(x: Arrays, sizes: Sizes) -> Fetched:
    """Return the value through its columns of the combining layer, beside the query through the others."""
    width = x["query"].shape[-1]
    offset = x["query"] @ x["W_c"][:, :width].T + x["b_c"]
    return Fetched((x["value"] @ x["W_c"][:, width:].T)[:, None, None], offset)


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return a layer whose rows, one for each position, are codes that meet the query's alone."""
    width = p.shapes["query"][-1]
    rows = p.code("W", np.arange(p.keys)) * (np.arange(p.shapes["W"][1]) < width)
    arrays = {"W": rows, "b": p.zeros("b"), "query": p.code("query", p.best)}
    return None if width < p.bits else Decided(arrays, p.best, 2 * SIDE**2)


MECHANISM = Mechanism(
    name="location",
    evaluate=location,
    exact=_exact,
    work=_work,
    inputs=(
        tensor("query", "B Lq Dq", "decoder state"),
        tensor("key", "B Lq Dk", "what the query is concatenated with"),
        tensor("value", "B P Dv", "encoder outputs at fixed positions"),
        parameter("W", "P Dq+Dk", "scores of the positions"),
        parameter("b", "P", "their bias"),
        parameter("W_c", "O Dq+Dv", "combining layer"),
        parameter("b_c", "O", "its bias"),
    ),
    output=("B", "Lq", "O"),
    scores=("B", "Lq", "P"),
    kind="scores",
    steps=(
        "",
        "S = W [Q; K] + b",
        "",
        r"P = \operatorname{softmax}(S)",
        r"O = W_c [Q; P\, V] + b_c",
    ),
    source="note 001",
    algebra=Algebra(shifted="b", fetched=_fetched, decided=_decided),
    options=SCORED,
    examples=(
        Example(
            name="seq2seq",
            source="note 001: query_size = key_size = value_size1 = 32, value_size2 = output_size = 64",
            inputs={
                "query": spread(1, 1, 32),
                "key": spread(1, 1, 32),
                "value": spread(1, 32, 64),
                "W": spread(32, 64) / 8,
                "b": spread(32),
                "W_c": spread(64, 96) / 8,
                "b_c": spread(64),
            },
            shapes={"output": (1, 1, 64), "weights": (1, 1, 32)},
        ),
    ),
    errata=(
        Erratum(
            source="note 001, Attn",
            says="self.outpu_size and k[0]",
            right="self.output_size and K[0]: as written the constructor and the call raise",
            shown_by="tests/reference/test_errata.py::test_the_seq2seq_module_as_written_raises",
        ),
        Erratum(
            source="note 001, Attn",
            says="V = torch.randn(1, 1, 64)",
            right="(1, value_size1, value_size2) = (1, 32, 64): the weights over 32 positions meet 32 values; then the "
            "output is (1, 1, 64) and the weights are (1, 32)",
            shown_by="tests/reference/test_errata.py::test_the_seq2seq_value_needs_a_row_for_each_position",
        ),
    ),
)
