"""Which keys a block of queries may see: a span of them, and inside of it a mask where one is needed. Of `fused`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@dataclass(frozen=True)
class Visibility:
    """The conditions of a call, over scores (B, H, Lq, Lk).

    mask        boolean, four axes, broadcastable to the scores; True where a key is seen
    bias        the same axes, added to the scores
    valid_lens  (B,) or (B, Lq): keys before it are seen
    """

    queries: int
    keys: int
    mask: Tensor | None = None
    bias: Tensor | None = None
    valid_lens: Tensor | None = None
    causal: str | None = None
    window: tuple[int, int] | None = None

    @property
    def banded(self) -> bool:
        """Whether blocks of queries see spans of keys that differ."""
        return self.causal is not None or self.window is not None

    @property
    def conditional(self) -> bool:
        """Whether any key may be hidden."""
        return self.banded or any(x is not None for x in (self.mask, self.bias, self.valid_lens))

    @property
    def offset(self) -> int:
        """The place of the first query among the keys."""
        return self.keys - self.queries if self.causal == "bottom_right" else 0

    @functools.cached_property
    def longest(self) -> int:
        """How many keys any query may see by valid_lens."""
        if self.valid_lens is None or self.valid_lens.numel() == 0:
            return self.keys
        return max(0, min(self.keys, int(self.valid_lens.max())))

    def blocks(self, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (first query, end, first key, end) of blocks of about that many queries, nearly alike in length."""
        count = -(-self.queries // max(size, 1))
        for block in range(count):
            first, end = block * self.queries // count, (block + 1) * self.queries // count
            yield first, end, *self.span(first, end)

    def span(self, first: int, end: int) -> tuple[int, int]:
        """Return the first key that one of these queries may see, and the end of those that one may see."""
        start, stop = 0, self.longest
        if self.causal is not None:
            stop = min(stop, end + self.offset)
        if self.window is not None:
            start = max(start, first + self.offset - self.window[0])
            stop = min(stop, end + self.offset + self.window[1])
        stop = max(stop, 0)
        return min(start, stop), stop

    def seen(self, first: int, end: int, start: int, stop: int, device: Any) -> Tensor | None:
        """Return which keys of a span the queries of a block see, broadcastable to their scores; None for all."""
        import torch

        conditions = [] if self.mask is None else [part(self.mask, first, end, start, stop)]
        key = torch.arange(start, stop, device=device)
        if self.valid_lens is not None:
            lens = self.valid_lens if self.valid_lens.ndim == 2 else self.valid_lens[:, None]  # (B, Lq or 1)
            lens = lens if lens.shape[1] == 1 else lens[:, first:end]
            conditions.append(key < lens[:, None, :, None])
        place = torch.arange(first, end, device=device)[:, None] + self.offset
        last = stop - 1
        if self.causal is not None and first + self.offset < last:
            conditions.append(key <= place)
        if self.window is not None:
            left, right = self.window
            if end - 1 + self.offset - left > start:
                conditions.append(key >= place - left)
            if first + self.offset + right < last:
                conditions.append(key <= place + right)
        return functools.reduce(torch.logical_and, conditions) if conditions else None


def part(x: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
    """Return a block of what broadcasts to the scores."""
    x = x if x.shape[-2] == 1 else x[..., first:end, :]
    return x if x.shape[-1] == 1 else x[..., start:stop]
