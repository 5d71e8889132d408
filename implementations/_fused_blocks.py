"""The softmax of scores that are held a block of queries at a time, and sums of values by it. Of `fused`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from attention_harness.implementations._fused_visibility import Visibility

_SCORES = 1 << 17  # of a block, of all query heads of a key head: 512 KiB in float32
_BAND = 128  # queries of a block where each block sees other keys
_WORTH_HEADS = 1 << 16  # scores of all heads: fewer are not worth a product of matrices for each head


def attend_by_blocks(
    query: Tensor, key: Tensor, value: Tensor, visible: Visibility, *, scale: float | None = None, lse: bool = False
) -> tuple[Tensor, ...]:
    """Return softmax(cap(scale * q k^T) + bias) V, in the value's dtype, and if asked for each row's log-sum-exp.

    For query (B, H, Lq, D), key (B, Hk, Lk, D), value (B, Hk, Lk, Dv). Key heads go one after the other: products of
    many matrices are slower. The backward pass computes scores and weights of each block again.
    """
    given = value.dtype
    query, key, value = (x if x.element_size() >= 4 else x.float() for x in (query, key, value))
    visible = in_dtype(visible, query.dtype)
    if scale is None:
        scale = max(query.shape[-1], 1) ** -0.5
    (batch, heads), of_keys = query.shape[:2], key.shape[1]
    if batch * of_keys <= 1 or batch * heads * visible.queries * visible.keys <= _WORTH_HEADS:
        output, *log_sums = _of_heads(query, key, value, visible, scale, lse)
        return output.to(given), *log_sums
    group, rows = heads // of_keys, []
    for b, (q, k, v) in enumerate(zip(query.split(1), key.split(1), value.split(1), strict=True)):
        parts = zip(q.split(group, 1), k.split(1, 1), v.split(1, 1), strict=True)
        found = [
            _of_heads(*part, visible.of_heads(b, n * group, (n + 1) * group), scale, lse)
            for n, part in enumerate(parts)
        ]
        rows.append(tuple(torch.cat(each, 1) for each in zip(*found, strict=True)))
    output, *log_sums = (torch.cat(each) for each in zip(*rows, strict=True))
    return output.to(given), *log_sums


def _of_heads(
    query: Tensor, key: Tensor, value: Tensor, visible: Visibility, scale: float, lse: bool
) -> tuple[Tensor, ...]:
    factor = scale if visible.softcap is None else scale / visible.softcap

    def score(rows: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
        scores = product(by_key_heads(rows, key.shape[1]), key[:, :, start:stop].mT)
        scores = scores * factor if scores.requires_grad else scores.mul_(factor)
        if visible.softcap is not None:
            scores = scores.tanh() * visible.softcap if scores.requires_grad else scores.tanh_().mul_(visible.softcap)
        return scores.view(*rows.shape[:-1], stop - start)

    size = block(visible, query.shape[0] * query.shape[1])
    return attend_to_scores(score, query, value, visible, size, sources=(query, key), lse=lse)


def attend_to_scores(
    score: Callable[[Tensor, int, int, int, int], Tensor],
    query: Tensor,
    value: Tensor,
    visible: Visibility,
    size: int,
    *,
    sources: tuple[Tensor, ...],
    lse: bool = False,
) -> tuple[Tensor, ...]:
    """Return softmax(S) V, in blocks of so many queries; and each row's log-sum-exp if it is asked for.

    score    (query's rows (B, H, q, D), first, end, start, stop) -> S of a block before biases, a new tensor
    value    (B, Hk, Lk, Dv) in the dtype of the scores
    sources  what the score is computed from: if nothing is learned, nothing is recorded for a backward pass
    """
    blocks = list(visible.blocks(size))
    parts = query.split([end - first for first, end, _, _ in blocks], -2) if blocks else ()
    outputs, log_sums = [], []

    def attend(rows: Tensor, first: int, end: int, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        scores = score(rows, first, end, start, stop)
        weights, log_sum = weigh(scores, visible, first, end, start, stop, lse=lse)
        sums = product(by_key_heads(weights, value.shape[1]), value[:, :, start:stop])
        return sums.view(*rows.shape[:-1], value.shape[-1]), log_sum

    learned = (*sources, value, visible.bias, visible.relative_bias, visible.sinks)
    learning = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in learned)
    # Made first: small results between large scores would keep the allocator from using the memory of scores again.
    whole = None if learning or len(blocks) < 2 else value.new_empty(*query.shape[:-1], value.shape[-1])
    for rows, place in zip(parts, blocks, strict=True):
        if len(blocks) > 1 and learning:  # else autograd would keep the weights of all blocks
            output, log_sum = checkpoint(attend, rows, *place, use_reentrant=False, preserve_rng_state=False)
        else:
            output, log_sum = attend(rows, *place)
        if whole is None:
            outputs.append(output)
        else:
            whole[..., place[0] : place[1], :] = output
        log_sums.append(log_sum)
    if not blocks:
        output = query.new_zeros(*query.shape[:-1], value.shape[-1])
        log_sum = query.new_zeros(query.shape[:-1]) if lse else None
    else:
        output = whole if whole is not None else outputs[0] if len(blocks) == 1 else torch.cat(outputs, -2)
        log_sum = torch.cat([x for x in log_sums if x is not None], -1) if lse else None
    return (output,) if log_sum is None else (output, log_sum)


def weigh(
    scores: Tensor, visible: Visibility, first: int, end: int, start: int, stop: int, *, lse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the weights of a block, and each row's log-sum-exp if it is asked for. May write to the scores.

    A row that sees no key has zero weights, and -inf.
    """
    added = visible.added(first, end, start, stop, scores.dtype)
    seen = visible.seen(first, end, start, stop, scores.device)
    if seen is not None:  # as a sum: torch 2.13 adds what is broadcast much faster than it fills by it
        zero = scores.new_zeros(()) if added is None else added
        added = torch.where(seen, zero, -torch.inf)
    if added is not None:
        scores = scores + added if scores.requires_grad or added.requires_grad else scores.add_(added)
    if visible.sinks is not None:  # one more key to each row, whose weight is dropped; no row is fully masked
        sinks = visible.sinks[:, None, None].expand(*scores.shape[:-1], 1)
        scores = torch.cat((scores, sinks), -1)
    log_sums = scores.detach().logsumexp(-1) if lse else None
    if visible.sinks is not None:
        return scores.softmax(-1)[..., :-1], log_sums
    if added is None or start == stop:
        return scores.softmax(-1), log_sums
    empty = added.detach().amax(-1, keepdim=True) == -torch.inf
    if not empty.any():
        return scores.softmax(-1), log_sums
    return scores.masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0), log_sums


def by_key_heads(x: Tensor, heads: int) -> Tensor:
    """Return (B, Hk, H / Hk * L, D) of (B, H, L, D): the rows of all heads that share a key head."""
    return x if x.shape[1] == heads else x.unflatten(1, (heads, -1)).flatten(2, 3)


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return x y of four axes; torch 2.13 multiplies two matrices several times faster than a batch of one."""
    return (x[0, 0] @ y[0, 0])[None, None] if x.shape[:2] == (1, 1) else x @ y


def in_dtype(visible: Visibility, dtype: torch.dtype) -> Visibility:
    """Return the options with what is added to scores in their dtype: a gradient is then rounded once."""

    def converted(x: Tensor | None) -> Tensor | None:
        return x if x is None else x.to(dtype)

    bias, table, sinks = (converted(x) for x in (visible.bias, visible.relative_bias, visible.sinks))
    return replace(visible, bias=bias, relative_bias=table, sinks=sinks)


def block(visible: Visibility, count: int, scores: int = _SCORES) -> int:
    """Return how many queries a block of so many scores has, of so many heads together."""
    size = max(1, scores // max(count * visible.keys, 1))
    return min(size, _BAND) if visible.banded else size
