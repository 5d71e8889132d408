"""What the options do to scores, in plain torch: biases, visible keys, and the softmax over them. Of `eager`."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def softmax(
    scores: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    valid_lens: Tensor | None = None,
    causal: str | None = None,
    segments: Tensor | None = None,
    softcap: float | None = None,
    window: tuple[int, int] | None = None,
    alibi: str | None = None,
    relative_bias: Tensor | None = None,
    sinks: Tensor | None = None,
    cache_lens: Tensor | None = None,
    log_sums: list[Tensor] | None = None,
) -> Tensor:
    """Return the softmax of scores and biases over the keys that every condition allows; a fully masked row is zero."""
    import torch

    if segments is not None:
        mask = within_segments(mask, scores, segments)
    if cache_lens is not None:
        mask = within_cache(mask, scores, cache_lens)
    if window is not None:
        mask = windowed(mask, scores, window, causal, segments, cache_lens)
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    if bias is not None:
        scores = scores + bias
    if alibi is not None:
        scores = (scores + linear_biases(scores, alibi, causal, segments, cache_lens)).to(scores.dtype)
    if relative_bias is not None:
        scores = scores + relative_biases(scores, relative_bias, causal, segments, cache_lens)
    visible = visible_keys(scores, mask, bias, valid_lens, causal, segments, cache_lens)
    if log_sums is not None:
        log_sums.append(log_sum_exp(scores, visible, sinks))
    if sinks is not None:  # one more key to each row, whose weight is dropped; no row is fully masked
        scores = scores if visible is None else scores.masked_fill(~visible, -math.inf)
        return torch.cat([scores, sinks[:, None, None].expand(*scores.shape[:-1], 1)], -1).softmax(-1)[..., :-1]
    if visible is None:
        return scores.softmax(-1)
    empty = ~visible.any(-1, keepdim=True)
    # A fully masked row of -inf would be NaN, also in the gradient: it becomes an ordinary one, its weights dropped.
    scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)
    return scores.softmax(-1).masked_fill(empty, 0.0)


def log_sum_exp(scores: Tensor, visible: Tensor | None, sinks: Tensor | None) -> Tensor:
    """Return the logarithm of each row's denominator, in float32 or better; -inf where it sees no key."""
    import torch

    wide = scores if scores.dtype == torch.float64 else scores.float()
    if visible is not None:
        wide = wide.masked_fill(~visible, -math.inf)
    if sinks is not None:
        wide = torch.cat([wide, sinks[:, None, None].expand(*wide.shape[:-1], 1)], -1)
    return wide.logsumexp(-1)


def visible_keys(
    scores: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    valid_lens: Tensor | None,
    causal: str | None,
    segments: Tensor | None = None,
    cache_lens: Tensor | None = None,
) -> Tensor | None:
    """Return which keys each query sees, broadcastable to the scores, or None for all of them."""
    import torch

    keys = scores.shape[-1]
    position = torch.arange(keys, device=scores.device)
    conditions = [] if mask is None else [mask]
    if bias is not None:
        conditions.append(bias != -math.inf)
    if valid_lens is not None:
        lens = valid_lens if valid_lens.ndim == 2 else valid_lens[:, None]  # (B, Lq or 1)
        conditions.append(position < (lens if scores.ndim == 3 else lens[:, None])[..., None])
    if causal is not None:
        last = places(scores, causal, segments, cache_lens)
        conditions.append(position <= last[..., None])
    return functools.reduce(torch.logical_and, conditions) if conditions else None


def places(
    scores: Tensor, causal: str | None, segments: Tensor | None = None, cache_lens: Tensor | None = None
) -> Tensor:
    """Return, (Lq,), the key at each query's place: i, or i + Lk - Lq under bottom_right; within its segment.

    With lengths of a cache, which then take the place of Lk, it is (B, 1, Lq), or (B, Lq) without heads.
    """
    import torch

    queries = scores.shape[-2]
    keys: int | Tensor = scores.shape[-1]
    query = torch.arange(queries, device=scores.device)
    if cache_lens is not None and causal == "bottom_right":
        keys = cache_lens.reshape(-1, *[1] * (scores.ndim - 2))
    if segments is None:
        return query + (keys - queries if causal == "bottom_right" else 0)
    ends = segments.expand(2, -1)
    segment = (query[:, None] >= ends[0, 1:-1]).sum(-1)  # past the last end any place will do: every key is hidden
    corner = segment + 1 if causal == "bottom_right" else segment
    return query + ends[1][corner] - ends[0][corner]


def within_segments(mask: Tensor | None, scores: Tensor, segments: Tensor) -> Tensor:
    """Return the mask, False also where query and key lie in different segments or in none."""
    import torch

    queries, keys = (torch.arange(length, device=scores.device) for length in scores.shape[-2:])
    ends = segments.expand(2, -1)
    of_query, of_key = (queries[:, None] >= ends[0, 1:]).sum(-1), (keys[:, None] >= ends[1, 1:]).sum(-1)
    same = (of_query[:, None] == of_key) & (keys < ends[1, -1])
    return same if mask is None else same & mask


def within_cache(mask: Tensor | None, scores: Tensor, cache_lens: Tensor) -> Tensor:
    """Return the mask, False also for keys that a batch element's cache does not hold yet."""
    import torch

    keys = torch.arange(scores.shape[-1], device=scores.device)
    valid = keys < cache_lens.reshape(-1, *[1] * (scores.ndim - 1))
    return valid if mask is None else valid & mask


def windowed(
    mask: Tensor | None,
    scores: Tensor,
    window: tuple[int, int],
    causal: str | None,
    segments: Tensor | None = None,
    cache_lens: Tensor | None = None,
) -> Tensor:
    """Return the mask with the window in it: which keys lie around each query's own place, under causality's corner."""
    import torch

    left, right = window
    keys = torch.arange(scores.shape[-1], device=scores.device)
    distance = keys - places(scores, causal, segments, cache_lens)[..., None]
    near = (distance >= -left) & (distance <= right)
    return near if mask is None else near & mask


def linear_biases(
    scores: Tensor,
    form: str,
    causal: str | None,
    segments: Tensor | None = None,
    cache_lens: Tensor | None = None,
) -> Tensor:
    """Return -m |i - j| or -m (i - j) for each head's slope m, i from causality's corner, in float32 or better."""
    import torch

    heads, _, keys = scores.shape[-3:]
    whole = 1 << max(heads.bit_length() - 1, 0)  # a power of two; further heads lie between these
    powers = [8 * (head + 1) / whole for head in range(min(heads, whole))]
    powers += [4 * (2 * head + 1) / whole for head in range(heads - whole)]
    slopes = 0.5 ** torch.tensor(powers, device=scores.device, dtype=torch.float64)
    distance = places(scores, causal, segments, cache_lens)[..., None] - torch.arange(keys, device=scores.device)
    distance = distance.abs() if form == "full" else distance
    return (-slopes[:, None, None] * distance).to(torch.promote_types(scores.dtype, torch.float32))


def relative_biases(
    scores: Tensor,
    table: Tensor,
    causal: str | None,
    segments: Tensor | None = None,
    cache_lens: Tensor | None = None,
) -> Tensor:
    """Return each head's entry of every distance's bucket in T5's table; of one side alone under causality."""
    import torch

    keys = torch.arange(scores.shape[-1], device=scores.device)
    after = keys - places(scores, causal, segments, cache_lens)[..., None]
    buckets = 32 if causal else 16  # of a side
    distance = (-after).clamp(min=0) if causal else after.abs()
    single = buckets // 2
    growth = (distance.clamp(min=1) / single).log() / math.log(128 / single) * (buckets - single)
    bucket = torch.where(distance < single, distance, (single + growth.long()).clamp(max=buckets - 1))
    if not causal:
        bucket = bucket + (after > 0) * buckets
    bucket = bucket if bucket.ndim == 2 else bucket[:, 0]  # all heads pick alike
    return table[bucket].movedim(-1, -3)
