"""Every mechanism in plain torch, one operation after the other: the row the others are compared with."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from attention_harness import Capabilities
from attention_harness.implementations._upstream import multiplies_by_amx, onednn_tails

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness import Case

    Answer: TypeAlias = "tuple[Tensor, Tensor]"

CAPABILITIES = Capabilities(
    mechanisms=(
        *("dot_product", "scaled_dot_product", "cosine", "additive", "concat_tanh", "tanh_gated", "gaussian_kernel"),
        *("masked_softmax", "location", "projected", "multi_head", "positional_encoding", "rotary_embedding"),
        *("self_attention", "cross_attention"),
    ),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    options=(
        *("alibi_full", "alibi_causal", "base", "bias", "causal_top_left", "causal_bottom_right", "dropout"),
        *("first_position", "grouped_heads", "interleaved_pairing", "learned_scale", "mask", "partial_rotary_factor"),
        *("proportional_pairing", "query_key_norm", "relative_bias", "rotary_half", "rotary_interleaved", "scale"),
        *("segments_self", "segments_cross", "sinks", "softcap", "valid_lens", "window"),
    ),
    gradients=True,
    second_derivatives=True,
    weights=True,
    poison_safe=False,  # a weight of zero meets the hidden value: 0 * NaN = NaN
    vmap=True,
    forward_derivatives=True,
    autocast=("bfloat16", "float16"),
    narrower_inputs=("bias", "scale", "segments", "valid_lens"),  # promoted; a wider one would promote the scores
)

if multiplies_by_amx():  # elsewhere nothing is refused, and no case need be asked
    unsupported = onednn_tails


def prepare(case: Case) -> functools.partial[Any]:
    """Return the mechanism's function with what is not a tensor filled in."""
    names = ["alibi", "base", "causal", "dropout", "first_position", "pairing", "partial_rotary_factor", "positions"]
    names += ["rotary", "scale", "score", "softcap", "window"]
    settings = {name: case.options[name] for name in names if name in case.options}
    if settings.get("scale") == "learned":  # then it comes with the call
        del settings["scale"]
    if case.mechanism == "multi_head":
        settings["heads"] = case.sizes["H"]
    return functools.partial(globals()[case.mechanism], **settings)


# --- the mechanisms, named and argued as in the reference


def dot_product(query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Answer:
    """Score by the inner product."""
    key, value = repeat_heads(key, query), repeat_heads(value, query)
    return attend(query @ key.mT, value, **visibility)


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | Tensor | None = None,
    query_key_norm: Tensor | None = None,
    **visibility: Any,
) -> Answer:
    """Score by the inner product over the square root of its length, of vectors as they are or normalised."""
    if query_key_norm is not None:
        query, key = normalise_rms(query) * query_key_norm[0], normalise_rms(key) * query_key_norm[1]
    key, value = repeat_heads(key, query), repeat_heads(value, query)
    scores = query @ key.mT
    scores = scores / math.sqrt(query.shape[-1]) if scale is None else scores * scale
    return attend(scores, value, **visibility)


def cosine(query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Answer:
    """Score by the cosine of the angle between query and key."""
    return dot_product(normalise(query), normalise(key), value, **visibility)


def additive(
    query: Tensor, key: Tensor, value: Tensor, W_q: Tensor, W_k: Tensor, w_v: Tensor, **visibility: Any
) -> Answer:
    """Score by a one-layer network over each pair."""
    features = linear(query, W_q).unsqueeze(-2) + linear(key, W_k).unsqueeze(-3)
    return attend(features.tanh() @ w_v, value, **visibility)


def concat_tanh(query: Tensor, key: Tensor, value: Tensor, W: Tensor, b: Tensor, **visibility: Any) -> Answer:
    """Score by the summed features of a layer over [query; key]."""
    size = query.shape[-1]
    features = linear(query, W[:, :size]).unsqueeze(-2) + linear(key, W[:, size:], b).unsqueeze(-3)
    return attend(features.tanh().sum(-1), value, **visibility)


def tanh_gated(query: Tensor, key: Tensor, value: Tensor, W: Tensor, **visibility: Any) -> Answer:
    """Score by the inner product with the keys behind a tanh layer."""
    return attend(query @ linear(key, W).tanh().mT, value, **visibility)


def gaussian_kernel(query: Tensor, key: Tensor, value: Tensor, w: Tensor, **visibility: Any) -> Answer:
    """Score by the log of a Gaussian kernel (Nadaraya-Watson)."""
    difference = w * (query.unsqueeze(-2) - key.unsqueeze(-3))
    return attend((difference * difference).sum(-1) * -0.5, value, **visibility)


def masked_softmax(scores: Tensor, **visibility: Any) -> Answer:
    """Return the softmax of given scores over the visible keys."""
    weights = softmax(scores, **visibility)
    return weights, weights


def location(
    query: Tensor, key: Tensor, value: Tensor, W: Tensor, b: Tensor, W_c: Tensor, b_c: Tensor, **visibility: Any
) -> Answer:
    """Score fixed positions by a layer over [query; key]; another layer combines [query; context]."""
    size = query.shape[-1]
    scores = linear(query, W[:, :size]) + linear(key, W[:, size:], b)
    context, weights = attend(scores, value, **visibility)
    return linear(query, W_c[:, :size]) + linear(context, W_c[:, size:], b_c), weights


def projected(
    query: Tensor, key: Tensor, value: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, *, score: str, **visibility: Any
) -> Answer:
    """Project query, key and value, then attend with the score of choice."""
    known = {"dot_product": dot_product, "cosine": cosine, "scaled_dot_product": scaled_dot_product}
    if score not in known:
        raise ValueError(f"unknown score {score!r}; known: {', '.join(known)}")
    return known[score](linear(query, W_q), linear(key, W_k), linear(value, W_v), **visibility)


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    *,
    heads: int,
    **visibility: Any,
) -> Answer:
    """Attend in several subspaces side by side, then project the joined answers."""
    projections = ((query, W_q), (key, W_k), (value, W_v))
    output, weights = scaled_dot_product(*(split_heads(linear(x, W), heads) for x, W in projections), **visibility)
    return linear(merge_heads(output), W_o), weights


def positional_encoding(sequence: Tensor, *, base: float = 10000.0, first_position: float = 0) -> Tensor:
    """Add sines and cosines of the position; the table is computed in float32 or better."""
    import torch

    length, width = sequence.shape[-2:]
    dtype = torch.float64 if sequence.dtype == torch.float64 else torch.float32
    column = torch.arange(width, device=sequence.device)
    rate = base ** -(column // 2 * 2 / torch.full_like(column, width, dtype=dtype))
    place = first_position + torch.arange(length, device=sequence.device, dtype=dtype)
    angle = place[:, None] * rate
    return sequence + torch.where(column % 2 == 0, angle.sin(), angle.cos()).to(sequence.dtype)


def rotary_embedding(
    sequence: Tensor,
    *,
    pairing: str = "half",
    base: float = 10000.0,
    first_position: float = 0,
    partial_rotary_factor: float = 1.0,
) -> Tensor:
    """Rotate pairs of features by the position; the tables are computed in float32 or better."""
    import torch

    length, width = sequence.shape[-2:]
    pairs = int(width * partial_rotary_factor) // 2
    dtype = torch.float64 if sequence.dtype == torch.float64 else torch.float32
    pair = torch.arange(pairs, device=sequence.device, dtype=dtype)
    place = first_position + torch.arange(length, device=sequence.device, dtype=dtype)
    offset = width // 2 if pairing == "proportional" else pairs
    angle = place[:, None] * base ** -(pair / offset)
    cos, sin = angle.cos().to(sequence.dtype), angle.sin().to(sequence.dtype)
    if pairing == "interleaved":
        a, b = sequence[..., 0 : 2 * pairs : 2], sequence[..., 1 : 2 * pairs : 2]
        rotated = torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
        return torch.cat((rotated, sequence[..., 2 * pairs :]), -1)
    a, b = sequence[..., :pairs], sequence[..., offset : offset + pairs]
    between, after = sequence[..., pairs:offset], sequence[..., offset + pairs :]
    return torch.cat((a * cos - b * sin, between, a * sin + b * cos, after), -1)


def self_attention(sequence: Tensor, *, positions: str, rotary: str | None = None, **visibility: Any) -> Answer:
    """Attend from a sequence to itself, with or without positions added, and with query and key rotated by them."""
    if positions == "sinusoidal":
        sequence = positional_encoding(sequence)
    rotated = sequence if rotary is None else rotary_embedding(sequence, pairing=rotary)
    return scaled_dot_product(rotated, rotated, sequence, **visibility)


def cross_attention(
    sequence: Tensor, context: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, **visibility: Any
) -> Answer:
    """Attend from a sequence to another one, and add the answer."""
    query, key, value = linear(sequence, W_q), linear(context, W_k), linear(context, W_v)
    change, weights = scaled_dot_product(query, key, value, **visibility)
    return sequence + change, weights


# --- what they share


def attend(scores: Tensor, value: Tensor, *, dropout: float = 0.0, training: bool = False, **visibility: Any) -> Answer:
    """Return (output, weights): the softmax over the visible keys, some of it dropped in training, times the values."""
    import torch

    if training:
        weights = torch.nn.functional.dropout(softmax(scores, **visibility), dropout)
        return weights @ value, weights
    weights = softmax(scores, **visibility)
    return weights @ value, weights


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
) -> Tensor:
    """Return the softmax of scores and biases over the keys that every condition allows; a fully masked row is zero."""
    import torch

    if segments is not None:
        mask = within_segments(mask, scores, segments)
    if window is not None:
        mask = windowed(mask, scores, window, causal, segments)
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    if bias is not None:
        scores = scores + bias
    if alibi is not None:
        scores = (scores + linear_biases(scores, alibi, causal, segments)).to(scores.dtype)
    if relative_bias is not None:
        scores = scores + relative_biases(scores, relative_bias, causal, segments)
    visible = visible_keys(scores, mask, bias, valid_lens, causal, segments)
    if sinks is not None:  # one more key to each row, whose weight is dropped; no row is fully masked
        scores = scores if visible is None else scores.masked_fill(~visible, -math.inf)
        return torch.cat([scores, sinks[:, None, None].expand(*scores.shape[:-1], 1)], -1).softmax(-1)[..., :-1]
    if visible is None:
        return scores.softmax(-1)
    empty = ~visible.any(-1, keepdim=True)
    # A fully masked row of -inf would be NaN, also in the gradient: it becomes an ordinary one, its weights dropped.
    scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)
    return scores.softmax(-1).masked_fill(empty, 0.0)


def visible_keys(
    scores: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    valid_lens: Tensor | None,
    causal: str | None,
    segments: Tensor | None = None,
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
        last = places(scores, causal, segments)
        conditions.append(position <= last[:, None])
    return functools.reduce(torch.logical_and, conditions) if conditions else None


def places(scores: Tensor, causal: str | None, segments: Tensor | None = None) -> Tensor:
    """Return, (Lq,), the key at each query's place: i, or i + Lk - Lq under bottom_right; within its segment."""
    import torch

    queries, keys = scores.shape[-2:]
    query = torch.arange(queries, device=scores.device)
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


def windowed(
    mask: Tensor | None, scores: Tensor, window: tuple[int, int], causal: str | None, segments: Tensor | None = None
) -> Tensor:
    """Return the mask with the window in it: which keys lie around each query's own place, under causality's corner."""
    import torch

    left, right = window
    distance = torch.arange(scores.shape[-1], device=scores.device) - places(scores, causal, segments)[:, None]
    near = (distance >= -left) & (distance <= right)
    return near if mask is None else near & mask


def linear_biases(scores: Tensor, form: str, causal: str | None, segments: Tensor | None = None) -> Tensor:
    """Return -m |i - j| or -m (i - j) for each head's slope m, i from causality's corner, in float32 or better."""
    import torch

    heads, _, keys = scores.shape[-3:]
    whole = 1 << max(heads.bit_length() - 1, 0)  # a power of two; further heads lie between these
    powers = [8 * (head + 1) / whole for head in range(min(heads, whole))]
    powers += [4 * (2 * head + 1) / whole for head in range(heads - whole)]
    slopes = 0.5 ** torch.tensor(powers, device=scores.device, dtype=torch.float64)
    distance = places(scores, causal, segments)[:, None] - torch.arange(keys, device=scores.device)
    distance = distance.abs() if form == "full" else distance
    return (-slopes[:, None, None] * distance).to(torch.promote_types(scores.dtype, torch.float32))


def relative_biases(scores: Tensor, table: Tensor, causal: str | None, segments: Tensor | None = None) -> Tensor:
    """Return each head's entry of every distance's bucket in T5's table; of one side alone under causality."""
    import torch

    after = torch.arange(scores.shape[-1], device=scores.device) - places(scores, causal, segments)[:, None]
    buckets = 32 if causal else 16  # of a side
    distance = (-after).clamp(min=0) if causal else after.abs()
    single = buckets // 2
    growth = (distance.clamp(min=1) / single).log() / math.log(128 / single) * (buckets - single)
    bucket = torch.where(distance < single, distance, (single + growth.long()).clamp(max=buckets - 1))
    if not causal:
        bucket = bucket + (after > 0) * buckets
    return table[bucket].movedim(-1, 0)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b."""
    import torch

    return torch.nn.functional.linear(x, weight, bias)


def normalise(x: Tensor) -> Tensor:
    """Return x over its length; a zero vector stays zero, and so does its gradient."""
    import torch

    wide = x if x.dtype == torch.float64 else x.float()
    largest = wide.detach().abs().amax(-1, keepdim=True)  # divided out, so that no square over- or underflows
    wide = wide / largest.masked_fill(largest == 0, math.inf)
    return (wide / torch.linalg.vector_norm(wide, dim=-1, keepdim=True).clamp_min(1)).to(x.dtype)  # 0, or at least 1


def normalise_rms(x: Tensor) -> Tensor:
    """Return x / sqrt(mean(x^2) + 1e-6), computed in float32 or better."""
    wide = x if x.element_size() == 8 else x.float()
    return (wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype)


def repeat_heads(x: Tensor, query: Tensor) -> Tensor:
    """Return x with each key head repeated for its neighbours among the query heads."""
    return x if x.shape[-3] == query.shape[-3] else x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, H * D) -> (B, H, L, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, L, D) -> (B, L, H * D)."""
    return x.transpose(1, 2).flatten(2)
