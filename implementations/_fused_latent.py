"""Latent attention as one with a key and a value: each head's own, or the latent for all of them. Of `fused`."""

from __future__ import annotations

import torch
from torch import Tensor


def keyed(
    query: Tensor, query_rotary: Tensor, latent: Tensor, key_rotary: Tensor, W_k: Tensor, W_v: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return query, key and value, and by what (H, C, Dv) the output is yet to be multiplied, if by anything.

    For query (B, H, Lq, D), query_rotary (B, H, Lq, R), latent (B, Lk, C), key_rotary (B, Lk, R), W_k (H, D, C) and
    W_v (H, Dv, C). In the absorbed form each head's weights meet its query and its sum of latents, and all heads share
    a key of C + R features; in the other one each latent becomes D features of a key and Dv of a value for each head.
    Which of them it is follows from their numbers of products.
    """
    latent, key_rotary = latent[:, None], key_rotary[:, None]
    (queries, width), (keys, of_latent) = query.shape[-2:], latent.shape[-2:]
    rotary, of_value = query_rotary.shape[-1], W_v.shape[1]
    absorbed = queries * of_latent * (width + of_value) + queries * keys * (2 * of_latent + rotary)
    if absorbed < keys * of_latent * (width + of_value) + queries * keys * (width + rotary + of_value):
        query = torch.cat((query @ W_k, query_rotary), -1)
        return query, torch.cat((latent, key_rotary), -1), latent, W_v.mT
    key = torch.cat((latent @ W_k.mT, key_rotary.expand(-1, query.shape[1], -1, -1)), -1)
    return torch.cat((query, query_rotary), -1), key, latent @ W_v.mT, None
