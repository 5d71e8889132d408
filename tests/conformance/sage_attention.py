"""Attention with 8 bits inside, after SageAttention 2: int8 scores of smoothed keys, float8 weights and values.

Zhang et al. 2024, arXiv 2411.10958, section 3, with a scale for each block of 16 positions, written in torch.
"""

from __future__ import annotations

import math

from attention_harness import Arithmetic, Capabilities

BLOCK = 16

CAPABILITIES = Capabilities(
    mechanisms=("scaled_dot_product",),
    dtypes=("float32", "bfloat16"),
    options=("causal_top_left", "causal_bottom_right", "grouped_heads", "scale"),
    arithmetic=Arithmetic(
        rounded_scores=False,
        quantised={"query": "int8", "key": "int8", "value": "e4m3", "probabilities": "e4m3"},
    ),
)


def prepare(case):
    causal = case.options.get("causal")
    scale = case.options.get("scale", 1 / math.sqrt(case.sizes["D"]))
    return lambda query, key, value: attend(query, key, value, causal, scale)


def attend(query, key, value, causal, scale: float):
    """Attend by codes: the keys' mean changes no weight, and is taken out before they are rounded."""
    import torch

    group = query.shape[1] // key.shape[1]
    dtype, (query, key, value) = query.dtype, (x.float() for x in (query, key, value))
    key = key - key.mean(-2, keepdim=True) if key.shape[-2] else key
    (query, of_query), (key, of_key), (value, of_value) = blocks(query), blocks(key), eighths(value)
    key, of_key, value, of_value = (x.repeat_interleave(group, 1) for x in (key, of_key, value, of_value))
    scores = (query @ key.mT) * (of_query * of_key.mT * scale)
    if causal:
        rows, keys = scores.shape[-2:]
        corner = keys - rows if causal == "bottom_right" else 0
        seen = torch.arange(keys) <= torch.arange(rows)[:, None] + corner
        scores = scores.masked_fill(~seen, -math.inf)
    peak = scores.amax(-1, keepdim=True) if scores.shape[-1] else scores.sum(-1, keepdim=True)
    weights = (scores - peak.masked_fill(peak == -math.inf, 0.0)).exp()
    total = weights.sum(-1, keepdim=True)
    codes = weights.to(torch.float8_e4m3fn).float()
    return ((codes @ value) * of_value / total.masked_fill(total == 0, 1.0)).to(dtype)


def blocks(x):
    """Return whole numbers from -127 to 127, and what multiplies each position's: one scale for a block."""
    import torch

    if not x.shape[-2]:
        return x, x[..., :1]
    tops = [part.abs().amax((-2, -1), keepdim=True).expand(*part.shape[:-1], 1) for part in x.split(BLOCK, -2)]
    scale = torch.cat(tops, -2) / 127
    scale = scale.masked_fill(scale == 0, 1.0)
    return (x / scale).round(), scale


def eighths(x):
    """Return float8 numbers, and the scale of each head."""
    import torch

    scale = x.abs().amax((-2, -1), keepdim=True) / 448 if x.numel() else x.new_ones(*x.shape[:2], 1, 1)
    scale = scale.masked_fill(scale == 0, 1.0)
    return (x / scale).to(torch.float8_e4m3fn).float(), scale
