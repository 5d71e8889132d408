"""Encodings of positions in plain torch: what is added to a sequence, and how its features are rotated. Of `eager`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
