r"""Linear attention chunk by chunk, products of matrices in place of a step for each position. Of `fused`.

Within a chunk, with the sums $G_t$ of its decays up to t, and the state S before it,

$$S_t = e^{G_t} S + \sum_{s \le t} e^{G_t - G_s} k_s u_s^\top, \quad u_t = b_t \Big(v_t - e^{G_t} S^\top k_t -
\sum_{s < t} (k_t \cdot e^{G_t - G_s} k_s) u_s\Big).$$

So the updates U solve a triangular system, and without a rate they are the values. Each exponential of a difference is
a product, $e^{G_t} e^{-G_s}$, so that the pairs' products are those of matrices. In float32 this would lose what the
sums are large by, and overflow: with a decay or a rate everything is computed in float64, where a chunk's decays sum to
-300 at least. For stronger ones, and for float64 itself, eager's steps are taken. So they are for gradients of decays:
a chunk's would be sums of large terms that cancel, where a strong decay's is small and the first one's is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from attention_harness.implementations import eager

_FEW_STEPS = 16  # positions that are taken one by one
_CHUNK, _SHORT_CHUNK = 64, 8  # positions
_STRONGEST = -300.0  # sum of decays in a chunk; the exponential of its opposite squared is within float64


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | Tensor | None = None,
    decay: Tensor | None = None,
    update_rate: Tensor | None = None,
) -> Tensor:
    """Return what each query reads of the state, (B, H, L, Dv), in the query's dtype."""
    is_gated = decay is not None or update_rate is not None
    stepwise = is_gated and query.dtype == torch.float64
    stepwise |= decay is not None and decay.requires_grad and torch.is_grad_enabled()
    if stepwise or query.shape[-2] <= _FEW_STEPS or query.numel() == 0:
        return eager.linear_attention(query, key, value, scale=scale, decay=decay, update_rate=update_rate)
    inner = torch.float64 if is_gated else torch.promote_types(query.dtype, torch.float32)

    def prepared(x: Tensor) -> Tensor:
        x = x.to(inner)
        return eager.repeat_heads(x if x.ndim == 4 else x.unsqueeze(-1), query)

    q, k, v = (prepared(x) for x in (query, key, value))
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    if not is_gated:
        return (ungated(q, k, v) * factor).to(query.dtype)
    rate = None if update_rate is None else prepared(update_rate)
    for size in (min(_CHUNK, query.shape[-2]), _SHORT_CHUNK):
        sums = None if decay is None else _chunks(prepared(decay), size).cumsum(-2)
        if sums is None or bool(sums.amin() >= _STRONGEST):
            return (gated(q, k, v, sums, rate, size) * factor).to(query.dtype)
    return eager.linear_attention(query, key, value, scale=scale, decay=decay, update_rate=update_rate)


def ungated(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return what each query reads of the sums of k v^T up to it: (B, H, L, Dv) of (B, H, L, D) and (B, H, L, Dv)."""
    length = query.shape[-2]
    query, key, value = (_chunks(x, _CHUNK) for x in (query, key, value))  # (B, H, N, C, .)
    sums = (key.mT @ value).cumsum(2)
    output = (query @ key.mT).tril() @ value
    output = torch.cat((output[:, :, :1], output[:, :, 1:] + query[:, :, 1:] @ sums[:, :, :-1]), 2)
    return output.flatten(2, 3)[:, :, :length]


def gated(query: Tensor, key: Tensor, value: Tensor, sums: Tensor | None, rate: Tensor | None, size: int) -> Tensor:
    """Return what each query reads of the state, for sums of decays G (B, H, N, C, 1 or D) and rate (B, H, L, 1)."""
    length = query.shape[-2]
    query, key, value = (_chunks(x, size) for x in (query, key, value))
    reading, writing = query, key
    if sums is not None:
        grown = sums.exp()
        reading, writing, key = query * grown, key * (-sums).exp(), key * grown
    seen = (reading @ writing.mT).tril()
    rates = None if rate is None else _chunks(rate, size)
    systems = None if rates is None else (rates * (key @ writing.mT)).tril(-1)
    state = query.new_zeros(*query.shape[:2], query.shape[-1], value.shape[-1])
    rows = []
    for n in range(query.shape[2]):
        updates = value[:, :, n]
        if rates is not None and systems is not None:
            right = rates[:, :, n] * (updates - key[:, :, n] @ state)
            updates = torch.linalg.solve_triangular(systems[:, :, n], right, upper=False, unitriangular=True)
        rows.append(reading[:, :, n] @ state + seen[:, :, n] @ updates)
        state = state + writing[:, :, n].mT @ updates
        if sums is not None:
            state = grown[:, :, n, -1:].mT * state
    return torch.cat(rows, -2)[:, :, :length]


def _chunks(x: Tensor, size: int) -> Tensor:
    """Return (B, H, N, C, D) of (B, H, L, D), zeros behind the last position."""
    return pad(x, (0, 0, 0, -x.shape[-2] % size)).unflatten(-2, (-1, size))
