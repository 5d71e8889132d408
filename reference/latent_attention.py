"""Multi-head latent attention: each head's keys and values are projections of one latent vector for each position."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import Algebra, Arrays, Decided, Fetched, Patterns, Sizes
from attention_harness.reference.core import attend, computed, products
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    Mechanism,
    Work,
    parameter,
    tensor,
)


def latent_attention(
    query: Any,
    query_rotary: Any,
    latent: Any,
    key_rotary: Any,
    W_k: Any,
    W_v: Any,
    *,
    scale: Any = None,
    **visibility: Any,
) -> tuple[Any, Any]:
    r"""$$O_h = \operatorname{softmax}\left(\frac{Q_h K_h^\top + Q^R_h {K^R}^\top}{\sqrt{D + R}}\right) V_h, \quad
    K_h = C\, W_{k,h}^\top,\; V_h = C\, W_{v,h}^\top$$

    Shapes: query Q (B, H, Lq, D); query_rotary (B, H, Lq, R); latent C (B, Lk, C); key_rotary (B, Lk, R); W_k (H, D,
    C); W_v (H, Dv, C) -> output (B, H, Lq, Dv), weights (B, H, Lq, Lk). All heads share the latents and the rotary part
    K^R of the keys. Both rotary parts come rotated. `scale`, a number, replaces 1/sqrt(D + R). The absorbed form,
    (Q_h W_{k,h}) C^T and (P_h C) W_{v,h}^T with the weights P_h, is the same function.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: beyond the notes; DeepSeek-AI 2024 (arXiv 2405.04434), section 2.1, without the compression of queries.
    """
    width = query.shape[-1] + query_rotary.shape[-1]
    scale = 1 / math.sqrt(max(width, 1)) if scale is None else scale
    latents, rotary = latent[:, None], key_rotary[:, None]  # for all heads
    scores = products((query, W_k, latents.swapaxes(-1, -2)), (query_rotary, rotary.swapaxes(-1, -2)))
    scores = scores * computed(np.float64(scale), scores, 2)
    return attend(scores, (latents, W_v.swapaxes(-1, -2)), **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    heads = len(s.x["W_k"])

    def projected(weight: Any) -> Any:
        shape = (len(s.x["latent"]), heads, s.x["latent"].shape[1], weight.shape[1])
        return table(shape, lambda b, h, j, d: s.dot(s.x["latent"][b, j], weight[h, d]))

    rotary = s.x["key_rotary"]
    key, value = projected(s.x["W_k"]), projected(s.x["W_v"])
    shared = table((*key.shape[:-1], rotary.shape[-1]), lambda b, h, j, r: rotary[b, j, r])
    query, key = (np.concatenate(pair, -1) for pair in ((s.x["query"], s.x["query_rotary"]), (key, shared)))
    return s.attend(s.scaled(query.shape[-1]), query, key, value)


def _work(s: Mapping[str, int], pairs: int) -> Work:
    """Return the projections of the latents to keys and values, and over the pairs the scores and the sum of values."""
    projections = 2 * s["B"] * s["H"] * s["Lk"] * s["C"] * (s["D"] + s["Dv"])
    return Work(2 * pairs * (s["D"] + s["R"] + s["Dv"]), projections)


def _fetched(x: Arrays, sizes: Sizes) -> Fetched:
    """Return the latent through each head's value projection."""
    return Fetched(np.einsum("bkc,hvc->bhkv", x["latent"], x["W_v"])[:, :, None])


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return codes of query and latent that every head's key projection keeps; the rotary parts say nothing."""
    width = p.sizes["D"]
    scale = options.get("scale", (width + p.sizes["R"]) ** -0.5)
    if "scale" in options and scale < 2.0**-4:
        return None
    rotary = {name: p.zeros(name) for name in ("query_rotary", "key_rotary")}
    return p.matched("query", "latent", scale, width, W_k=p.repeated("W_k", width), **rotary)


MECHANISM = Mechanism(
    name="latent_attention",
    evaluate=latent_attention,
    exact=_exact,
    work=_work,
    inputs=(
        tensor("query", "B H Lq D", "what is looked for, but for the position"),
        tensor("query_rotary", "B H Lq R", "what is looked for, rotated by the position", symbol="Q^R"),
        tensor("latent", "B Lk C", "what keys and values of all heads are made of", symbol="C"),
        tensor("key_rotary", "B Lk R", "part of the key of all heads, rotated by the position", symbol="K^R"),
        parameter("W_k", "H D C", "key projection of each head"),
        parameter("W_v", "H Dv C", "value projection of each head"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    kind="beyond",
    steps=(
        r"S_h = \frac{Q_h K_h^\top + Q^R_h {K^R}^\top}{\sqrt{D + R}}",
        r"P_h = \operatorname{softmax}(S_h)",
        "O_h = P_h V_h",
    ),
    source="beyond the notes: DeepSeek-AI 2024, section 2.1",
    algebra=Algebra(checks=("relation.other_basis",), linear="W_v", fetched=_fetched, decided=_decided),
    options=(*ATTENTION, *BY_HEAD, "scale"),
    letters={"C": ("Dv", 2), "R": ("H", 3)},
)
