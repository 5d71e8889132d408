"""torch.nn.functional.scaled_dot_product_attention, with plain linear layers around it where the mechanism has some."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from attention_harness import Arithmetic, Capabilities
from attention_harness.implementations._upstream import onednn_tails

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from attention_harness import Case

CAPABILITIES = Capabilities(
    mechanisms=("dot_product", "scaled_dot_product", "multi_head", "self_attention", "cross_attention"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    options=(
        "mask",
        "bias",
        "valid_lens",
        "causal_top_left",
        "causal_bottom_right",
        "scale",
        "grouped_heads",
        "dropout",
        "cache_lens",
        "past",
        "segments_self",
        "segments_cross",
        "window",
        "query_key_norm",
    ),
    gradients=True,
    vmap=True,
    autocast=("bfloat16", "float16"),
    # torch 2.13, CPU: the backward pass adds up its blocks, of 32 queries or more, in tensors of the case's dtype
    arithmetic=Arithmetic(rounded_scores=False, gradient_block=32),
)


def unsupported(case: Case) -> str:
    """Return why the fused operator does not hold the whole mechanism, or ""."""
    if case.options.get("positions", "none") != "none":
        return "positions are applied outside of the fused operator; it computes attention alone"
    return onednn_tails(case)


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the mechanism's function with what is not a tensor filled in."""
    settings = {name: case.options[name] for name in ("causal", "dropout", "scale", "window") if name in case.options}
    if case.mechanism == "multi_head":
        settings["heads"] = case.sizes["H"]
    return functools.partial(globals()[case.mechanism], **settings)


def dot_product(query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Tensor:
    """Attend with the scale 1."""
    return scaled_dot_product(query, key, value, scale=1.0, **visibility)


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | None = None,
    causal: str | None = None,
    query_key_norm: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    dropout: float = 0.0,
    training: bool = False,
    **conditions: Any,
) -> Tensor:
    """Attend to (B, H, L, D) with every condition in one mask; top-left causality alone needs none.

    query_key_norm: weights of queries and keys, which are divided by their root mean square first.
    past_key, past_value: keys and values of earlier calls, which come before the others.
    """
    import torch
    from torch.nn.functional import rms_norm, scaled_dot_product_attention

    if past_key is not None and past_value is not None:
        key, value = torch.cat((past_key, key), -2), torch.cat((past_value, value), -2)
    if query_key_norm is not None:
        query, key = (rms_norm(x, x.shape[-1:], query_key_norm[i], 1e-6) for i, x in enumerate((query, key)))
    queries, keys = query.shape[-2], key.shape[-2]
    if causal is not None and (conditions or (causal == "bottom_right" and queries != keys)):
        mask, is_causal = combined(query, keys, causal=causal, **conditions), False
    else:
        mask, is_causal = combined(query, keys, **conditions), causal is not None
    grouped = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout if training else 0.0,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=grouped,
    )


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
) -> Tensor:
    """Attend in several subspaces side by side, then project the joined answers."""
    from torch.nn.functional import linear

    projections = ((query, W_q), (key, W_k), (value, W_v))
    split = (linear(x, W).unflatten(-1, (heads, -1)).transpose(1, 2) for x, W in projections)
    return linear(scaled_dot_product(*split, **visibility).transpose(1, 2).flatten(2), W_o)


def self_attention(sequence: Tensor, **visibility: Any) -> Tensor:
    """Attend from a sequence to itself."""
    return one_head(sequence, sequence, sequence, **visibility)


def cross_attention(
    sequence: Tensor, context: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, **visibility: Any
) -> Tensor:
    """Attend from a sequence to another one, and add the answer."""
    from torch.nn.functional import linear

    query, key, value = linear(sequence, W_q), linear(context, W_k), linear(context, W_v)
    return sequence + one_head(query, key, value, **visibility)


def one_head(query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Tensor:
    """Attend to (B, L, D): the fused kernels take four axes alone."""
    for name in ("mask", "bias"):
        if name in visibility and visibility[name].ndim == 3:
            visibility[name] = visibility[name][:, None]
    return scaled_dot_product(query[:, None], key[:, None], value[:, None], **visibility)[:, 0]


def combined(
    query: Tensor,
    keys: int,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    valid_lens: Tensor | None = None,
    causal: str | None = None,
    segments: Tensor | None = None,
    window: tuple[int, int] | None = None,
    cache_lens: Tensor | None = None,
) -> Tensor | None:
    """Return all conditions as one mask: boolean, or the bias with -inf where a key is hidden."""
    import torch

    conditions = [] if mask is None else [mask]
    position = torch.arange(keys, device=query.device)
    if valid_lens is not None:
        lens = valid_lens if valid_lens.ndim == 2 else valid_lens[:, None]  # (B, Lq or 1)
        conditions.append(position < lens[:, None, :, None])
    place = torch.arange(query.shape[-2], device=query.device)[:, None]
    valid: int | Tensor = keys
    if cache_lens is not None:
        valid = cache_lens[:, None, None, None]
        conditions.append(position < valid)
    if segments is not None:
        queries_end, keys_end = segments.expand(2, -1)
        segment = (place >= queries_end[1:]).sum(-1, keepdim=True)
        conditions.append((segment == (position[:, None] >= keys_end[1:]).sum(-1)) & (place < queries_end[-1]))
        corner = segment.clamp(max=len(queries_end) - 2) + (causal == "bottom_right")
        place = place - queries_end[corner] + keys_end[corner]
    elif causal == "bottom_right":
        place = place + valid - query.shape[-2]
    if causal is not None:
        conditions.append(position <= place)
    if window is not None:
        conditions.append((place - window[0] <= position) & (position <= place + window[1]))
    visible = functools.reduce(torch.logical_and, conditions) if conditions else None
    if bias is None or visible is None:
        return visible if bias is None else bias
    return torch.where(visible, bias, -math.inf)
