"""Scaled dot-product attention: the score is the inner product divided by the square root of its length."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.options.quantised import OPTION, factors
from attention_harness.reference.algebra import Algebra, Decided, Patterns
from attention_harness.reference.arrays import operations
from attention_harness.reference.core import attend, computed, normalise_rms, repeat_heads
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    WEIGHTS,
    Erratum,
    Example,
    Mechanism,
    product_and_sum,
    spread,
    tensor,
)

EPSILON = 1e-6
"""Added to the mean square of a vector, under the root."""


def scaled_dot_product(
    query: Any,
    key: Any,
    value: Any,
    *,
    scale: Any = None,
    query_key_norm: Any = None,
    query_scale: Any = None,
    key_scale: Any = None,
    value_scale: Any = None,
    **visibility: Any,
) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V$$

    Shapes: query (B, H, Lq, D); key (B, Hk, Lk, D); value (B, Hk, Lk, Dv) -> output (B, H, Lq, Dv), weights
    (B, H, Lq, Lk). `scale`, a number or a learned tensor (1), replaces 1/sqrt(D). A bias is added after the scale.
    `query_key_norm` (2, D): w; queries become w_0 q / sqrt(mean(q^2) + 1e-6) first, the mean over D; keys by w_1 too.
    `past`: the first keys and values come apart, as `past_key` (B, Hk, P, D) and `past_value` (B, Hk, P, Dv).
    `quantised`: codes of 8 bits; `query_scale`, `key_scale`, `value_scale` (1), (B, H) or (B, H, blocks) multiply them.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: notes 001 and 003; Vaswani et al. 2017, eq. 1. Self-attention where Q = K = V. The norms: Henry et al. 2020.
    """
    heads, width = query.shape[-3], query.shape[-1]
    coded = ((query, query_scale), (key, key_scale), (value, value_scale))
    query, key, value = (dequantised(codes, factor) for codes, factor in coded)
    if query_key_norm is not None:
        query, key = (normalise_rms(x, query_key_norm[row], EPSILON) for row, x in enumerate((query, key)))
    if scale is None:
        scale = 1 / math.sqrt(max(width, 1))
    if isinstance(scale, float):
        scale = computed(np.float64(scale), query, 2)
    scores = query @ repeat_heads(key, heads).swapaxes(-1, -2) * scale
    return attend(scores, repeat_heads(value, heads), **visibility)


def dequantised(codes: Any, scale: Any) -> Any:
    """Return the numbers that codes (B, H, L, D) stand for, which may be stored; what has no scale is no code."""
    if scale is None:
        return codes
    numbers = codes * factors(scale, codes.shape[-2])
    return operations(numbers).as_output(numbers)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    query, key, value = (_exact_numbers(s, name) for name in ("query", "key", "value"))
    if "query_key_norm" in s.o:
        query, key = (exact_norm(s, x, s.o["query_key_norm"][row]) for row, x in enumerate((query, key)))
    return s.attend(s.scaled(query.shape[-1]), query, key, value)


def _exact_numbers(s: Scalars, name: str) -> Any:
    """Return what the codes of a tensor stand for, at 50 digits."""
    if f"{name}_scale" not in s.o:
        return s.x[name]
    factor = np.broadcast_to(factors(s.o[f"{name}_scale"], s.x[name].shape[-2]), s.x[name].shape)
    return table(s.x[name].shape, lambda *at: s.x[name][at] * s.mp.mpf(float(factor[at])))


def exact_norm(s: Scalars, x: Any, weight: Any) -> Any:
    """Return each vector over its root mean square, times the weights, at 50 digits."""
    epsilon = s.mp.mpf(EPSILON)

    def entry(*at: int) -> Any:
        vector = x[at[:-1]]
        return s.mp.mpf(weight[at[-1]]) * x[at] / s.mp.sqrt(s.dot(vector, vector) / len(vector) + epsilon)

    return table(x.shape, entry)


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of query and key; a learned scale, or a small or negative one, decides nothing."""
    scale = options.get("scale", p.shapes["query"][-1] ** -0.5)
    if not isinstance(scale, float) or ("scale" in options and scale < 2.0**-4):
        return None
    return p.matched("query", "key", scale)


MECHANISM = Mechanism(
    name="scaled_dot_product",
    evaluate=scaled_dot_product,
    exact=_exact,
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
        r"S = \frac{Q K^\top}{\sqrt{D}}",
        WEIGHTS,
        SUM,
    ),
    source="notes 001 and 003",
    algebra=Algebra(decided=_decided),
    options=(
        *(*ATTENTION, *BY_HEAD, "scale", "learned_scale", "grouped_heads", "lse", "query_key_norm", "past"),
        *OPTION.capabilities,
    ),
    requires=(("H", "Hk"),),
    examples=(
        Example(
            name="waist_and_chest",
            source="note 003: the two-dimensional sample, scaled",
            inputs={
                "query": [[[[57, 83], [55, 76]]]],
                "key": [[[[51, 70], [56, 82], [56, 82]]]],
                "value": [[[[40, 155], [43, 159], [48, 162]]]],
            },
            output=[[[[45.5, 160.5], [45.5, 160.5]]]],
        ),
        Example(
            name="valid_lens",
            source="note 003: queries (2, 1, 2), keys of ones, values 0..39, lengths [2, 6]",
            # Equal keys give equal scores: the mean of the first 2 and of the first 6 values, whatever the query is.
            inputs={
                "query": spread(2, 1, 1, 2),
                "key": np.ones((2, 1, 10, 2)),
                "value": np.broadcast_to(np.arange(40.0).reshape(10, 4), (2, 1, 10, 4)),
            },
            options={"valid_lens": [2, 6]},
            output=[[[[2, 3, 4, 5]]], [[[10, 11, 12, 13]]]],
        ),
    ),
    errata=(
        Erratum(
            source="note 003, two-dimensional sample",
            says="the product is also divided by d_k, to relieve vanishing gradients",
            right="by the square root of d_k, as the formula above it says: for independent entries of variance 1 the "
            "product has variance d_k, so that dividing by d_k leaves scores that vanish as d_k grows",
            shown_by="tests/reference/test_errata.py::test_dividing_by_the_width_makes_scores_vanish",
        ),
    ),
)
