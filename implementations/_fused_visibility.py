"""What options do to scores, a block of queries at a time: spans of keys, masks where needed, biases. Of `fused`."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

_FEW = 32  # keys; to leave some out costs more than to compute them


@dataclass(frozen=True)
class Visibility:
    """The options of a call that act on scores (B, H, Lq, Lk), in four axes.

    mask           boolean, broadcastable to the scores; True where a key is seen
    bias           the same axes, added to the scores
    valid_lens     (B,) or (B, Lq): keys before it are seen
    corners        (B,): how many keys the bottom-right corner counts, in place of all
    segments       (4,) or (2, 4): cumulative lengths of packed sequences; `packed` takes them apart
    slopes         (H,): of linear biases, by the distance, or by its amount if `both_sides`
    relative_bias  (32, H): biases by T5's buckets of the distance
    softcap        c of c tanh(s / c), before biases
    sinks          (H,): logits beside the scores, without keys
    """

    queries: int
    keys: int
    mask: Tensor | None = None
    bias: Tensor | None = None
    valid_lens: Tensor | None = None
    causal: str | None = None
    window: tuple[int, int] | None = None
    corners: Tensor | None = None
    segments: Tensor | None = None
    slopes: Tensor | None = None
    both_sides: bool = False
    relative_bias: Tensor | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    @property
    def by_distance(self) -> bool:
        """Whether the distance of query and key makes a bias."""
        return self.slopes is not None or self.relative_bias is not None

    @property
    def beyond_kernels(self) -> bool:
        """Whether scores are needed that torch's fused attention does not hand out."""
        return self.softcap is not None or self.sinks is not None

    @property
    def banded(self) -> bool:
        """Whether blocks of queries see spans of keys, or need masks, that differ."""
        return self.causal is not None or self.window is not None or self.by_distance

    @property
    def conditional(self) -> bool:
        """Whether any key may be hidden, or a bias be added."""
        return self.banded or any(x is not None for x in (self.mask, self.bias, self.valid_lens))

    @property
    def unmasked(self) -> bool:
        """Whether causality alone hides keys, and no bias is added."""
        others = (self.mask, self.bias, self.valid_lens, self.window, self.corners)
        return all(x is None for x in others) and not self.by_distance

    @property
    def offset(self) -> int:
        """The place of the first query among the keys, where it is the same for all batch elements."""
        return self.keys - self.queries if self.causal == "bottom_right" else 0

    @functools.cached_property
    def offsets(self) -> tuple[int, int]:
        """The least and the greatest place of the first query in a batch element."""
        if self.corners is None or self.corners.numel() == 0:
            return self.offset, self.offset
        least, most = self.corners.aminmax()
        return int(least) - self.queries, int(most) - self.queries

    @functools.cached_property
    def longest(self) -> int:
        """How many keys any query may see by valid_lens; all, where that is too few to look."""
        if self.valid_lens is None or self.valid_lens.numel() == 0 or self.keys <= _FEW:
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
        least, most = self.offsets
        if self.causal is not None:
            stop = min(stop, end + most)
        if self.window is not None:
            start = max(start, first + least - self.window[0])
            stop = min(stop, end + most + self.window[1])
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
        if self.causal is None and self.window is None:
            return functools.reduce(torch.logical_and, conditions) if conditions else None
        least, most = self.offsets
        place = torch.arange(first, end, device=device)[:, None] + self._offset_by_batch((-1, 1, 1, 1))
        last = stop - 1
        if self.causal is not None and first + least < last:
            conditions.append(key <= place)
        if self.window is not None:
            left, right = self.window
            if end - 1 + most - left > start:
                conditions.append(key >= place - left)
            if first + least + right < last:
                conditions.append(key <= place + right)
        return functools.reduce(torch.logical_and, conditions) if conditions else None

    def added(self, first: int, end: int, start: int, stop: int, dtype: Any) -> Tensor | None:
        """Return the sum of all biases, broadcastable to a block's scores; those by distance in a dtype."""
        bias = None if self.bias is None else part(self.bias, first, end, start, stop)
        if not self.by_distance or start == stop:
            return bias
        by_distance = self._by_distance(first, end, start, stop, dtype)
        return by_distance if bias is None else by_distance + bias

    def _by_distance(self, first: int, end: int, start: int, stop: int, dtype: Any) -> Tensor:
        """Return (1 or B, H, q, k). A distance's bias is computed once, and copied along the diagonal."""
        import torch

        keys, queries = stop - start, end - first
        distance = (end - 1 - start) - torch.arange(queries + keys - 1) + self._offset_by_batch((-1, 1))
        found = None
        if self.slopes is not None:
            far = distance.abs() if self.both_sides else distance
            found = (-self.slopes[:, None] * far.unsqueeze(-2)).to(dtype)
        if self.relative_bias is not None:
            table = self.relative_bias[_buckets(distance, self.causal is not None)].mT.to(dtype)
            found = table if found is None else found + table
        assert found is not None
        biases = found.unfold(-1, keys, 1).flip(-2)
        return biases if biases.ndim == 4 else biases[None]

    def _offset_by_batch(self, shape: tuple[int, ...]) -> Any:
        return self.offset if self.corners is None else (self.corners - self.queries).view(shape)

    def of_heads(self, batch: int, first: int, end: int) -> Visibility:
        """Return the options of some heads of a batch element."""

        def of_both(x: Tensor | None) -> Tensor | None:
            x = x if x is None or x.shape[0] == 1 else x[batch : batch + 1]
            return x if x is None or x.shape[1] == 1 else x[:, first:end]

        def of_batch(x: Tensor | None) -> Tensor | None:
            return x if x is None or x.shape[0] == 1 else x[batch : batch + 1]

        return replace(
            self,
            mask=of_both(self.mask),
            bias=of_both(self.bias),
            valid_lens=of_batch(self.valid_lens),
            corners=of_batch(self.corners),
            slopes=None if self.slopes is None else self.slopes[first:end],
            relative_bias=None if self.relative_bias is None else self.relative_bias[:, first:end],
            sinks=None if self.sinks is None else self.sinks[first:end],
        )

    def of_segments(self) -> list[tuple[int, int, int, int, Visibility]]:
        """Return the segments: first query, end, first key, end, options. The last one is of queries in none."""
        if self.segments is None:
            return [(0, self.queries, 0, self.keys, self)]
        of_queries, of_keys = self.segments.expand(2, -1).tolist()
        of_queries, of_keys = [*of_queries, self.queries], [*of_keys, of_keys[-1]]
        pairs = zip(itertools.pairwise(of_queries), itertools.pairwise(of_keys), strict=True)
        return [(*queries, *keys, self._of_segment(*queries, *keys)) for queries, keys in pairs]

    def _of_segment(self, first: int, end: int, start: int, stop: int) -> Visibility:
        """Return the options of a segment's queries and keys, whose places count in it."""
        lens = self.valid_lens
        if lens is not None:
            lens = (lens if lens.ndim == 1 or lens.shape[1] == 1 else lens[:, first:end]) - start
        return replace(
            self,
            queries=end - first,
            keys=stop - start,
            mask=None if self.mask is None else part(self.mask, first, end, start, stop),
            bias=None if self.bias is None else part(self.bias, first, end, start, stop),
            valid_lens=lens,
            segments=None,
        )


def visibility(
    queries: int,
    keys: int,
    heads: int | None,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    valid_lens: Tensor | None = None,
    cache_lens: Tensor | None = None,
    segments: Tensor | None = None,
    alibi: str | None = None,
    relative_bias: Tensor | None = None,
    sinks: Tensor | None = None,
    **others: Any,
) -> Visibility:
    """Return the options of a call; None for the number of heads if masks and biases have no such axis."""

    def four_axes(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        return x[:, None] if x.ndim == 3 and heads is None else x[(None,) * (4 - x.ndim)]

    def wide(x: Tensor | None) -> Tensor | None:
        return x if x is None or x.element_size() >= 4 else x.float()

    if cache_lens is not None and valid_lens is not None:
        valid_lens = valid_lens.minimum(cache_lens if valid_lens.ndim == 1 else cache_lens[:, None])
    counted = cache_lens is not None and segments is None and others.get("causal") == "bottom_right"
    return Visibility(
        queries,
        keys,
        four_axes(mask),
        four_axes(bias),
        valid_lens=cache_lens if valid_lens is None else valid_lens,
        corners=cache_lens if counted else None,
        segments=segments,
        slopes=None if alibi is None else _slopes(heads or 1),
        both_sides=alibi == "full",
        relative_bias=wide(relative_bias),  # a gradient from several blocks is then rounded once
        sinks=wide(sinks),
        **others,
    )


def packed(
    attend: Callable[[Tensor, Tensor, Tensor, Visibility], Any],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visible: Visibility,
) -> Any:
    """Return attend(query, key, value, visible), segment by segment; what it returns has queries on the third axis."""
    import torch

    if visible.segments is None:
        return attend(query, key, value, visible)
    segments = visible.of_segments()
    queries = query.split([end - first for first, end, *_ in segments], -2)
    lengths = [stop - start for _, _, start, stop, _ in segments]
    keys, values = (x[..., : sum(lengths), :].split(lengths, -2) for x in (key, value))
    found: list[Any] = []
    for n, (q, k, v) in enumerate(zip(queries, keys, values, strict=True)):
        if q.shape[-2] or (n == len(queries) - 1 and not found):
            found.append(attend(q, k, v, segments[n][-1]))
    if isinstance(found[0], tuple):
        return tuple(torch.cat(parts, 2) for parts in zip(*found, strict=True))
    return found[0] if len(found) == 1 else torch.cat(found, 2)


def part(x: Tensor, first: int, end: int, start: int, stop: int) -> Tensor:
    """Return a block of what broadcasts to the scores."""
    x = x if x.shape[-2] == 1 else x[..., first:end, :]
    return x if x.shape[-1] == 1 else x[..., start:stop]


def _slopes(heads: int) -> Tensor:
    """Return the slope of each head of attention with linear biases, in float64."""
    import torch

    whole = 1 << max(heads.bit_length() - 1, 0)  # a power of two; further heads lie between these
    powers = [8 * (head + 1) / whole for head in range(min(heads, whole))]
    powers += [4 * (2 * head + 1) / whole for head in range(heads - whole)]
    return 0.5 ** torch.tensor(powers, dtype=torch.float64)


def _buckets(distance: Tensor, causal: bool) -> Tensor:
    """Return T5's bucket of each distance of a query's place from a key."""
    import torch

    buckets = 32 if causal else 16  # of a side
    single = buckets // 2
    far = distance.clamp(min=0) if causal else distance.abs()
    growth = (far.clamp(min=1) / single).double().log() / math.log(128 / single) * (buckets - single)
    # No distance lies so near to a bucket's edge that rounding the logarithms moves it by more.
    grown = single + (growth + 2.0**-40).long()
    bucket = torch.where(far < single, far, grown.clamp(max=buckets - 1))
    return bucket if causal else bucket + (distance < 0) * buckets
