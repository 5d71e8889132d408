"""Flash decoding in torch: the cache in three parts, each by an online softmax in tiles, merged by log-sum-exp."""

from __future__ import annotations

import math

from attention_harness import Arithmetic, Capabilities

PARTS, TILE = 3, 16

CAPABILITIES = Capabilities(
    mechanisms=("scaled_dot_product",),
    dtypes=("float32", "bfloat16"),
    options=("cache_lens", "causal_bottom_right", "grouped_heads", "lse", "past", "scale"),
    arithmetic=Arithmetic(rounded_scores=False, split_keys=True, block=TILE),
)


def prepare(case):
    causal = "causal" in case.options
    scale = case.options.get("scale", 1 / math.sqrt(case.sizes["D"]))
    wants_lse = "lse" in case.options

    def call(query, key, value, cache_lens=None, past_key=None, past_value=None):
        import torch

        if past_key is not None:
            key, value = torch.cat((past_key, key), -2), torch.cat((past_value, value), -2)
        output, lse = decode(query, key, value, cache_lens, causal, scale)
        return (output, None, lse) if wants_lse else output

    return call


def decode(query, key, value, cache_lens, causal: bool, scale: float):
    """Attend to the keys that each batch element holds; by causality from the last of these."""
    import torch

    group = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(group, 1).float() for x in (key, value))
    keys, rows = key.shape[-2], query.shape[:-1]
    lens = torch.full(query.shape[:1], keys) if cache_lens is None else cache_lens
    last = lens[:, None] - query.shape[-2] + torch.arange(query.shape[-2]) if causal else lens[:, None] - 1
    last = torch.minimum(last, lens[:, None] - 1)[:, None, :, None]
    length = -(-keys // PARTS) or 1
    found = [
        part(query.float(), key, value, last, range(first, min(first + length, keys)), scale)
        for first in range(0, keys, length)
    ]
    if not found:
        return query.new_zeros(*rows, value.shape[-1]), query.new_full(rows, -math.inf, dtype=torch.float32)
    outputs, sums = (torch.stack(one) for one in zip(*found, strict=True))
    lse = sums.logsumexp(0)
    shares = (sums - lse.masked_fill(lse == -math.inf, 0.0)).exp()
    return (outputs * shares[..., None]).sum(0).to(query.dtype), lse


def part(query, key, value, last, places: range, scale: float):
    """Return the output over some of the keys, and its log-sum-exp: minus infinity where none of them is seen."""
    import torch

    peak = query.new_full((*query.shape[:-1], 1), -math.inf)
    total, out = torch.zeros_like(peak), query.new_zeros(*query.shape[:-1], value.shape[-1])
    for first in range(places.start, places.stop, TILE):
        tile = slice(first, min(first + TILE, places.stop))
        scores = (query @ key[..., tile, :].mT) * scale
        scores = scores.masked_fill(torch.arange(tile.start, tile.stop) > last, -math.inf)
        higher = torch.maximum(peak, scores.amax(-1, keepdim=True))
        safe = higher.masked_fill(higher == -math.inf, 0.0)
        weights, shrink = (scores - safe).exp(), (peak - safe).exp()
        total, out = total * shrink + weights.sum(-1, keepdim=True), out * shrink + weights @ value[..., tile, :]
        peak = higher
    seen = total > 0
    lse = torch.where(seen, peak + total.log(), -math.inf)
    return out / total.masked_fill(~seen, 1.0), lse[..., 0]
