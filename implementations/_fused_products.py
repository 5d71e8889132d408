"""torch's fused attention, over no more keys than a block of queries may see, with no needless mask. Of `fused`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from attention_harness.implementations._fused_blocks import attend_by_blocks, in_dtype
from attention_harness.implementations._fused_build import tile_elements
from attention_harness.implementations._fused_visibility import Visibility
from attention_harness.implementations._upstream import multiplies_by_amx

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness.implementations._fused_visibility import Visibility

_BAND = 128  # queries of a block where causality or a window gives each block other keys
# Scores of a head for which no fused kernel pays: where key and value have one width, the value's is larger, or smaller
_SMALL, _SMALL_IF_WIDER, _SMALL_IF_NARROWER = 1 << 14, 1 << 17, 1 << 18
_FEW = 16  # queries of a key head: so few read keys and values, and hardly compute
_WORTH_BLOCKS = 1 << 17  # scores of a head: fewer cost less than calls for several blocks


def attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, visible: Visibility, *, scale: float | None = None
) -> Tensor:
    """Return softmax(scale * q k^T + bias) V for query (B, H, Lq, D), key (B, Hk, Lk, D), value (B, Hk, Lk, Dv).

    Without a mask go: top-left causality; bottom-right causality of as many queries as keys, or of one query; and what
    hides nothing. Windows and other causality become blocks of queries, each with the span of keys that one of them
    sees. Query heads that share a key head are queries of it, where they see the same keys. Narrow dtypes are computed
    in float32, but for few queries, and but for bfloat16 on processors that multiply tiles of it: elsewhere torch's
    fused kernels take longer in it than in float32, also with AVX-512's instructions for bfloat16.
    """
    if visible.beyond_kernels:
        return attend_by_blocks(query, key, value, visible, scale=scale)[0]
    width, of_value, given = query.shape[-1], value.shape[-1], value.dtype
    if scale is None:
        scale = width**-0.5 if width else 1.0
    if query.shape[1] != key.shape[1] and key.shape[1] and (visible.queries == 1 or not visible.conditional):
        return _by_key_heads(query, key, value, visible, scale)
    if value.element_size() < 4 and visible.queries > _FEW and not _multiplies_tiles(value.dtype):
        query, key, value = query.float(), key.float(), value.float()
        visible = in_dtype(visible, torch.float32)
    if _is_small(query, key, value, visible):
        return _unfused(query, key, value, scale).to(given)
    if width != of_value and width and of_value:  # else the kernel that holds all scores is taken
        query, key = (pad(x, (0, max(width, of_value) - width)) for x in (query, key))
        value = pad(value, (0, max(width, of_value) - of_value))
    return _attend(query, key, value, visible, scale)[..., :of_value].to(given)


def _by_key_heads(query: Tensor, key: Tensor, value: Tensor, visible: Visibility, scale: float) -> Tensor:
    """Attend by key heads, each with the queries of all query heads that share it: keys are read once, not for each."""
    batch, heads, queries, width = query.shape
    of_keys = key.shape[1]
    rows = query.reshape(batch, of_keys, heads // of_keys * queries, width)
    start, stop = visible.span(0, queries)
    mask = None if queries != 1 else _mask(visible, 0, queries, start, stop, query)
    if mask is not None and mask.shape[1] == heads:
        mask = mask.reshape(mask.shape[0], of_keys, heads // of_keys, mask.shape[-1])
    boolean = mask is not None and mask.dtype == torch.bool
    seen = Visibility(rows.shape[2], stop - start, *((mask, None) if boolean else (None, mask)))
    key, value = key[:, :, start:stop], value[:, :, start:stop]
    return attend_by_products(rows, key, value, seen, scale=scale).reshape(batch, heads, queries, value.shape[-1])


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Visibility, scale: float) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    plain = visible.unmasked
    if visible.queries == 0 or visible.keys == 0:
        return scaled_dot_product_attention(query, key, value, scale=scale, enable_gqa=grouped)
    if plain and (visible.causal is None or visible.offset == 0 or visible.queries == 1):
        causal = visible.causal is not None and not (visible.queries == 1 and visible.causal == "bottom_right")
        return scaled_dot_product_attention(query, key, value, is_causal=causal, scale=scale, enable_gqa=grouped)
    blocked = visible.banded and visible.queries * visible.keys > _WORTH_BLOCKS
    outputs: list[Tensor] = []
    masks: dict[tuple[int, int, int], Tensor | None] = {}
    alike = visible.mask is None and visible.valid_lens is None and visible.bias is None and not visible.by_distance
    for first, end, start, stop in visible.blocks(_BAND if blocked else visible.queries):
        place = end - first, stop - start, first - start  # of blocks that lie alike one mask says which keys are hidden
        if place not in masks or not alike:
            mask = _mask(visible, first, end, start, stop, query)
            if alike and blocked and mask is not None:  # the kernel would make a sum of each anew
                mask = torch.where(mask, query.new_zeros(()), -torch.inf)
            masks[place] = mask
        outputs.append(
            scaled_dot_product_attention(
                query[:, :, first:end],
                key[:, :, start:stop],
                value[:, :, start:stop],
                attn_mask=masks[place],
                scale=scale,
                enable_gqa=grouped,
            )
        )
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -2)


def _multiplies_tiles(dtype: torch.dtype) -> bool:
    """Return whether the processor multiplies tiles of a dtype (AMX). Measured there: 0.35 to 0.5 of float32's time."""
    return dtype == torch.bfloat16 and multiplies_by_amx()


def _is_small(query: Tensor, key: Tensor, value: Tensor, visible: Visibility) -> bool:
    """Return whether two products and a softmax take less time than the fused kernel, and round as it does."""
    if visible.conditional or query.element_size() < 4 or query.shape[1] != key.shape[1]:
        return False
    width, of_value = query.shape[-1], value.shape[-1]
    limit = _SMALL if width == of_value else _SMALL_IF_WIDER if of_value > width else _SMALL_IF_NARROWER
    return 0 < visible.queries * visible.keys <= limit and query.numel() > 0


def _unfused(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    batch, heads = query.shape[:2]
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    if 1 < query.shape[1] <= _FEW and key[0].numel() > 2 * tile_elements():
        # measured: where a head's keys do not fit the second-level cache, the product of many rows by few is faster
        scores = torch.bmm(key, query.mT * scale).mT.contiguous()
    else:
        scores = torch.baddbmm(query.new_empty(1, 1, 1), query, key.mT, beta=0, alpha=scale)
    return torch.bmm(scores.softmax(-1), value).unflatten(0, (batch, heads))


def _mask(visible: Visibility, first: int, end: int, start: int, stop: int, query: Tensor) -> Tensor | None:
    """Return which keys are seen, or the biases with -inf for those that are not; None if all are seen."""
    seen = visible.seen(first, end, start, stop, query.device)
    bias = visible.added(first, end, start, stop, torch.promote_types(query.dtype, torch.float32))
    if bias is None:
        return seen
    return bias if seen is None else torch.where(seen, bias, -torch.inf)
