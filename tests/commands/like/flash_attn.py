"""Stands for the package of this name, which needs a GPU: what its function promises, in plain torch."""

from __future__ import annotations

import math

import torch


def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0):
    """Attend in layout (B, L, H, D), heads grouped, corners at the bottom right, zero where no key is seen."""
    query, key, value = (x.transpose(1, 2).float() for x in (q, k, v))
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = query @ key.mT * (q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale)
    if softcap:
        scores = softcap * (scores / softcap).tanh()
    queries, keys = scores.shape[-2:]
    place = torch.arange(queries)[:, None] + keys - queries
    left, right = window_size
    right = 0 if causal else right
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if left >= 0:
        seen &= torch.arange(keys) >= place - left
    if right >= 0:
        seen &= torch.arange(keys) <= place + right
    hidden = ~seen.any(-1, keepdim=True)
    weights = scores.masked_fill(~seen, -math.inf).masked_fill(hidden, 0.0).softmax(-1).masked_fill(hidden, 0.0)
    return (weights @ value).transpose(1, 2).to(q.dtype)
