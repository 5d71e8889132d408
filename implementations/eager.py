"""Every mechanism in plain torch, one operation after the other: the row the others are compared with."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from attention_harness import Capabilities
from attention_harness.implementations._eager_codes import dequantised
from attention_harness.implementations._eager_options import softmax
from attention_harness.implementations._eager_positions import positional_encoding, rotary_embedding
from attention_harness.implementations._upstream import multiplies_by_amx, onednn_tails

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness import Case

    Answer: TypeAlias = "tuple[Tensor, Tensor]"

CAPABILITIES = Capabilities(
    mechanisms=(
        *("dot_product", "scaled_dot_product", "cosine", "additive", "concat_tanh", "tanh_gated", "gaussian_kernel"),
        *("masked_softmax", "location", "projected", "multi_head", "positional_encoding", "rotary_embedding"),
        *("self_attention", "cross_attention", "differential_attention", "latent_attention", "linear_attention"),
    ),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    options=(
        *("alibi_full", "alibi_causal", "base", "bias", "cache_lens", "causal_top_left", "causal_bottom_right"),
        *("dropout", "feature_decay", "first_position", "grouped_heads", "head_decay", "interleaved_pairing"),
        *("learned_scale", "lse", "mask", "partial_rotary_factor", "past", "proportional_pairing", "query_key_norm"),
        *(
            "relative_bias",
            "rotary_half",
            "rotary_interleaved",
            "rotated_query_key_norm",
            "scale",
            "segments_self",
            "segments_cross",
            "sinks",
        ),
        *("softcap", "update_rate", "valid_lens", "window"),
        *("quantised_e4m3", "quantised_e5m2", "quantised_int8"),
    ),
    gradients=True,
    second_derivatives=True,
    weights=True,
    poison_safe=False,  # a weight of zero meets the hidden value: 0 * NaN = NaN
    vmap=True,
    forward_derivatives=True,
    autocast=("bfloat16", "float16"),
    # promoted; a wider one would promote the scores
    narrower_inputs=("bias", "cache_lens", "scale", "segments", "valid_lens"),
)

if multiplies_by_amx():  # elsewhere nothing is refused, and no case need be asked
    unsupported = onednn_tails


def prepare(case: Case) -> functools.partial[Any]:
    """Return the mechanism's function with what is not a tensor filled in."""
    names = ["alibi", "base", "causal", "dropout", "first_position", "pairing", "partial_rotary_factor", "positions"]
    names += ["lse", "rotary", "scale", "score", "softcap", "window"]
    settings = {name: case.options[name] for name in names if name in case.options}
    if settings.get("scale") == "learned":  # then it comes with the call
        del settings["scale"]
    if case.mechanism == "multi_head":
        settings["heads"] = case.sizes["H"]
    if "quantised" in case.options:  # codes do not tell in which dtype the answer is
        settings["dtype"] = case.dtype
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
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lse: str | None = None,
    dtype: str = "",
    query_scale: Tensor | None = None,
    key_scale: Tensor | None = None,
    value_scale: Tensor | None = None,
    **visibility: Any,
) -> Any:
    """Score by the inner product over the square root of its length, of vectors as they are or normalised."""
    key, value = with_past(past_key, key), with_past(past_value, value)
    coded = ((query, query_scale), (key, key_scale), (value, value_scale))
    query, key, value = (dequantised(codes, factors, dtype) for codes, factors in coded)
    if query_key_norm is not None:
        query, key = normalise_rms(query) * query_key_norm[0], normalise_rms(key) * query_key_norm[1]
    key, value = repeat_heads(key, query), repeat_heads(value, query)
    scores = query @ key.mT
    scores = scores / math.sqrt(query.shape[-1]) if scale is None else scores * scale
    if lse is not None:
        log_sums: list[Tensor] = []
        return (*attend(scores, value, log_sums=log_sums, **visibility), *log_sums)
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


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | Tensor | None = None,
    decay: Tensor | None = None,
    update_rate: Tensor | None = None,
) -> Tensor:
    """Read a state that decays, and to which each position adds; state and steps are in float32 or better."""
    import torch

    dtype, wide = query.dtype, torch.promote_types(query.dtype, torch.float32)
    query, key, value = query.to(wide), repeat_heads(key.to(wide), query), repeat_heads(value.to(wide), query)
    if decay is not None:
        decay = decay if decay.ndim == 4 else decay.unsqueeze(-1)
        decay = repeat_heads(decay.to(wide), query).exp()
    if update_rate is not None:
        update_rate = repeat_heads(update_rate.to(wide).unsqueeze(-1), query)
    state = query.new_zeros(*query.shape[:-2], query.shape[-1], value.shape[-1])
    sequences = (query, key, value, decay, update_rate)
    if torch.compiler.is_compiling() and query.shape[-2] > 0:
        output = scanned(state, sequences)
    else:
        rows = []
        for t in range(query.shape[-2]):
            inputs: list[Any] = [None if x is None else x[..., t, :] for x in sequences]
            state, row = linear_step(state, *inputs)
            rows.append(row)
        output = torch.stack(rows, -2) if rows else query @ state
    return (output / math.sqrt(query.shape[-1]) if scale is None else output * scale).to(dtype)


def linear_step(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None, update_rate: Tensor | None
) -> Answer:
    """Return the state (B, H, D, Dv) after a position, and what its query reads (B, H, Dv)."""
    q, k, v = q.unsqueeze(-1), k.unsqueeze(-1), v.unsqueeze(-2)
    if decay is not None:
        state = decay.unsqueeze(-1) * state
    if update_rate is not None:
        v = update_rate.unsqueeze(-1) * (v - (k * state).sum(-2, keepdim=True))
    state = state + k * v
    return state, (q * state).sum(-2)


def scanned(state: Tensor, sequences: tuple[Tensor | None, ...]) -> Tensor:
    """Return what all queries read (B, H, L, Dv): one step in a graph for any length, not a copy for each position."""
    from torch._higher_order_ops.scan import scan

    present = tuple(x is not None for x in sequences)

    def step(state: Tensor, rows: tuple[Tensor, ...]) -> Answer:
        given = iter(rows)
        inputs: list[Any] = [next(given) if there else None for there in present]
        state, row = linear_step(state, *inputs)
        return state.clone(), row.clone()  # Inductor, torch 2.13: "scan might be aliasing the input or the output"

    _, rows = scan(step, state, tuple(x.movedim(-2, 0).contiguous() for x in sequences if x is not None))
    return rows.movedim(0, -2)


def self_attention(
    sequence: Tensor,
    *,
    positions: str,
    rotary: str | None = None,
    query_key_norm: Tensor | None = None,
    rotated_query_key_norm: Tensor | None = None,
    **visibility: Any,
) -> Answer:
    """Attend from a sequence to itself, with or without positions added; query and key may be normed and rotated."""
    if positions == "sinusoidal":
        sequence = positional_encoding(sequence)
    query = key = sequence
    if query_key_norm is not None:
        query, key = normalise_rms(query) * query_key_norm[0], normalise_rms(key) * query_key_norm[1]
    if rotary is not None:
        query, key = rotary_embedding(query, pairing=rotary), rotary_embedding(key, pairing=rotary)
    return scaled_dot_product(query, key, sequence, query_key_norm=rotated_query_key_norm, **visibility)


def cross_attention(
    sequence: Tensor, context: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, **visibility: Any
) -> Answer:
    """Attend from a sequence to another one, and add the answer."""
    query, key, value = linear(sequence, W_q), linear(context, W_k), linear(context, W_v)
    change, weights = scaled_dot_product(query, key, value, **visibility)
    return sequence + change, weights


def differential_attention(
    query_1: Tensor,
    query_2: Tensor,
    key_1: Tensor,
    key_2: Tensor,
    value: Tensor,
    lambda_q1: Tensor,
    lambda_k1: Tensor,
    lambda_q2: Tensor,
    lambda_k2: Tensor,
    *,
    scale: float | Tensor | None = None,
    dropout: float = 0.0,
    training: bool = False,
    **visibility: Any,
) -> Answer:
    """Weigh by the difference of two softmax maps, the second one times a learned number."""
    import torch

    key_1, key_2, value = (repeat_heads(x, query_1) for x in (key_1, key_2, value))
    factor = (lambda_q1 * lambda_k1).sum().exp() - (lambda_q2 * lambda_k2).sum().exp() + 0.8
    scale = 1 / math.sqrt(max(query_1.shape[-1], 1)) if scale is None else scale
    first = softmax(query_1 @ key_1.mT * scale, **visibility)
    second = softmax(query_2 @ key_2.mT * scale, **visibility)
    difference = first - factor * second
    if training:
        difference = torch.nn.functional.dropout(difference, dropout)
    return difference @ value, difference


def latent_attention(
    query: Tensor,
    query_rotary: Tensor,
    latent: Tensor,
    key_rotary: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    *,
    scale: float | None = None,
    **visibility: Any,
) -> Answer:
    """Score by keys that each head makes from one latent, and by parts with positions; sum values of that latent."""
    latent, key_rotary = latent.unsqueeze(1), key_rotary.unsqueeze(1)
    key, value = latent @ W_k.mT, latent @ W_v.mT
    products = query @ key.mT + query_rotary @ key_rotary.mT
    width = query.shape[-1] + query_rotary.shape[-1]
    scores = products / math.sqrt(width) if scale is None else products * scale
    return attend(scores, value, **visibility)


# --- what they share


def attend(scores: Tensor, value: Tensor, *, dropout: float = 0.0, training: bool = False, **visibility: Any) -> Answer:
    """Return (output, weights): the softmax over the visible keys, some of it dropped in training, times the values."""
    import torch

    if training:
        weights = torch.nn.functional.dropout(softmax(scores, **visibility), dropout)
        return weights @ value, weights
    weights = softmax(scores, **visibility)
    return weights @ value, weights


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


def with_past(past: Tensor | None, new: Tensor) -> Tensor:
    """Return keys or values of earlier calls, and behind them the new ones."""
    import torch

    return new if past is None else torch.cat((past, new), -2)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, H * D) -> (B, H, L, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, L, D) -> (B, L, H * D)."""
    return x.transpose(1, 2).flatten(2)
