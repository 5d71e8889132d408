"""What torch 2.13 documents of `varlen_attn`, on any device: a stand-in where its kernel is missing."""

from __future__ import annotations

import torch


def varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa):
    """Attend sequence by sequence, as torch 2.13 documents it; past the last end lies nothing that is defined."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert int(cu_seq_q.diff().max()) <= max_q
    assert int(cu_seq_k.diff().max()) <= max_k
    assert enable_gqa == (query.shape[1] != key.shape[1])
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    parts = [query.new_full((int(cu_seq_q[0]), *query.shape[1:2], value.shape[-1]), torch.nan)]
    for one in range(len(cu_seq_q) - 1):
        rows, columns = (slice(int(ends[one]), int(ends[one + 1])) for ends in (cu_seq_q, cu_seq_k))
        scores = torch.einsum("ihd,jhd->hij", query[rows], key[columns]) * scale
        place = torch.arange(scores.shape[1])[:, None] + scores.shape[2] - scores.shape[1]
        keys, (left, right) = torch.arange(scores.shape[2]), window_size
        seen = torch.ones_like(scores[0], dtype=torch.bool) if scores.shape[0] else torch.ones(scores.shape[1:])
        seen &= keys >= place - left if left >= 0 else seen
        seen &= keys <= place + right if right >= 0 else seen
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1).masked_fill(~seen.any(-1, keepdim=True), 0.0)
        parts.append(torch.einsum("hij,jhd->ihd", weights, value[columns]))
    parts.append(query.new_full((len(query) - int(cu_seq_q[-1]), *query.shape[1:2], value.shape[-1]), torch.nan))
    return torch.cat(parts)
