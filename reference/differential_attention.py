"""Differential attention: a second softmax map is subtracted from the first one, so that what both share cancels."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import Algebra, Decided, Fetched, Patterns
from attention_harness.reference.core import attend_by_difference, computed, repeat_heads, stored
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    Mechanism,
    Work,
    parameter,
    tensor,
)

LAMBDA_INIT = 0.8
"""What the paper's $0.8 - 0.6 e^{-0.3 l}$ tends to in deep layers, and its second choice for all of them."""


def differential_attention(
    query_1: Any,
    query_2: Any,
    key_1: Any,
    key_2: Any,
    value: Any,
    lambda_q1: Any,
    lambda_k1: Any,
    lambda_q2: Any,
    lambda_k2: Any,
    *,
    scale: Any = None,
    **visibility: Any,
) -> tuple[Any, Any]:
    r"""$$O = \left(\operatorname{softmax}\left(\frac{Q_1 K_1^\top}{\sqrt{D}}\right) - \lambda
    \operatorname{softmax}\left(\frac{Q_2 K_2^\top}{\sqrt{D}}\right)\right) V, \quad
    \lambda = e^{\lambda_{q_1} \cdot \lambda_{k_1}} - e^{\lambda_{q_2} \cdot \lambda_{k_2}} + 0.8$$

    Shapes: query_1 (B, H, Lq, D); query_2 (B, H, Lq, D); key_1 (B, Hk, Lk, D); key_2 (B, Hk, Lk, D); value
    (B, Hk, Lk, Dv); lambda_q1 (D); lambda_k1 (D); lambda_q2 (D); lambda_k2 (D) -> output (B, H, Lq, Dv), weights
    (B, H, Lq, Lk). The weights are the difference: they may be negative, and sum to 1 - lambda. One lambda serves all
    heads. In the paper's code Dv is 2 D, and the two queries of a head lie side by side. `scale`, a number or a learned
    tensor (1), replaces 1/sqrt(D).
    Options act on both maps alike: masks, biases, sinks. Dropout drops weights of the difference; DiffLlama in
    transformers drops those of each map by themselves. The norm of each head's output, and its factor of 0.2, are left
    to the caller: they stand behind attention, as the output projection does.
    Fully masked rows: both maps are zero, and so are weights and output.
    Source: beyond the notes; Ye et al. 2024, arXiv 2410.05258, eqs. 1 and 2, with 0.8 as lambda_init of all layers.
    """
    heads = query_1.shape[-3]
    if scale is None:
        scale = 1 / math.sqrt(max(query_1.shape[-1], 1))
    if isinstance(scale, float):
        scale = computed(np.float64(scale), query_1, 2)
    pairs = ((query_1, key_1), (query_2, key_2))
    first, second = (query @ repeat_heads(key, heads).swapaxes(-1, -2) * scale for query, key in pairs)
    factor = _factor(lambda_q1, lambda_k1, lambda_q2, lambda_k2)
    return attend_by_difference((first, second), factor, repeat_heads(value, heads), **visibility)


def _factor(q1: Any, k1: Any, q2: Any, k2: Any) -> Any:
    """Return lambda, a number. It is made of few numbers, before the maps: each step may be stored."""
    first, second = (np.exp(stored(stored(q * k).sum(-1))) for q, k in ((q1, k1), (q2, k2)))
    difference = stored(stored(first) - stored(second))
    return stored(difference + computed(np.float64(LAMBDA_INIT), difference, 0))


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    score = s.scaled(s.x["query_1"].shape[-1])
    (first, of_first), (second, of_second) = (
        s.attend(score, s.x[f"query_{n}"], s.x[f"key_{n}"], s.x["value"]) for n in (1, 2)
    )
    exponentials = (s.mp.exp(s.dot(s.x[f"lambda_q{n}"], s.x[f"lambda_k{n}"])) for n in (1, 2))
    factor = next(exponentials) - next(exponentials) + s.mp.mpf(LAMBDA_INIT)

    def minus(one: Any, other: Any) -> Any:
        return table(one.shape, lambda *at: one[at] - factor * other[at])

    return minus(first, second), minus(of_first, of_second)


def _fetched(arrays: Mapping[str, Any], sizes: Mapping[str, int]) -> Fetched:
    r"""Return $(1 - \lambda) V$: what a key gives to which both maps give the weight 1, or to all in equal parts."""
    factor = _factor(*(arrays[name] for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")))
    values = np.repeat(arrays["value"], sizes["H"] // arrays["value"].shape[1], 1)
    return Fetched((1 - factor) * values[:, :, None])


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of queries and keys, the same for both maps; a learned, small or negative scale decides nothing."""
    scale = options.get("scale", p.shapes["query_1"][-1] ** -0.5)
    if not isinstance(scale, float) or ("scale" in options and scale < 2.0**-4):
        return None
    first, second = (p.matched(f"query_{n}", f"key_{n}", scale) for n in (1, 2))
    return first and second and Decided({**first.arrays, **second.arrays}, first.best, first.gap)


MECHANISM = Mechanism(
    name="differential_attention",
    evaluate=differential_attention,
    exact=_exact,
    work=lambda sizes, pairs: Work(2 * pairs * (2 * sizes["D"] + sizes["Dv"])),
    inputs=(
        tensor("query_1", "B H Lq D", "what is looked for", symbol="Q_1"),
        tensor("query_2", "B H Lq D", "what is looked for by the map that is subtracted", symbol="Q_2"),
        tensor("key_1", "B Hk Lk D", "what the first query is compared with", symbol="K_1"),
        tensor("key_2", "B Hk Lk D", "what the second query is compared with", symbol="K_2"),
        tensor("value", "B Hk Lk Dv", "what is fetched"),
        parameter("lambda_q1", "D", "a factor of the exponent that is added to lambda", symbol=r"\lambda_{q_1}"),
        parameter("lambda_k1", "D", "the other factor of that exponent", symbol=r"\lambda_{k_1}"),
        parameter("lambda_q2", "D", "a factor of the exponent that is subtracted from lambda", symbol=r"\lambda_{q_2}"),
        parameter("lambda_k2", "D", "the other factor of that exponent", symbol=r"\lambda_{k_2}"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    kind="beyond",
    steps=(
        r"S_1 = \frac{Q_1 K_1^\top}{\sqrt{D}}",
        r"S_2 = \frac{Q_2 K_2^\top}{\sqrt{D}}",
        r"P = \operatorname{softmax}(S_1) - \lambda \operatorname{softmax}(S_2)",
        SUM,
    ),
    source="beyond the notes: Ye et al. 2024",
    options=(*ATTENTION, *BY_HEAD, "scale", "learned_scale", "grouped_heads"),
    requires=(("H", "Hk"),),
    algebra=Algebra(
        checks=("relation.equal_halves",),
        # Weights of either sign leave the hull; two normalisers are no one log-sum-exp by which halves could be merged.
        lacks=frozenset({"hull", "split_and_merged"}),
        fetched=_fetched,
        decided=_decided,
    ),
)
