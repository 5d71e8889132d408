"""Sets of tensors that timed calls meet in turn, with numbers that they have never met.

An implementation that answers from a table of inputs that it has seen would otherwise be timed at the look-up. Before
each sample, outside of the clocks, every floating input of every set gets other numbers in the same memory: a table by
object or by address is wrong then, and one by value never finds anything. The numbers of a tensor are windows of a pool
of its own rows in random order; inputs are moved independently, so that no combination comes twice.

A sample makes at most as many calls as there are sets, so that no call repeats another one. All arms share the sets,
and so the cost in memory. `SETS` times a call of 6 us is a sample as long as any other one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SETS = 32  # at most; calls of a sample never repeat their inputs
LARGEST_BYTES = 16 << 20  # of all sets together, where one alone does not need more
_WINDOWS = 251  # places at which the numbers of a tensor may begin: of three tensors, 16 million combinations
_ALIGNED = 64  # bytes, as torch aligns what it allocates


class Rotation:
    """Copies of a problem's tensors, in its layouts. fresh: names of those that get other numbers"""

    def __init__(self, tensors: Mapping[str, Tensor], fresh: frozenset[str], seed: int) -> None:
        self.rng = random.Random(seed)
        used = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        count = min(max(LARGEST_BYTES // max(used, 1), 1), SETS)
        self._stacks: dict[str, tuple[Tensor, Tensor, int]] = {}  # name -> all sets' memory, the pool, a row's length
        copies = {name: self._copies(name, tensor, count, name in fresh) for name, tensor in tensors.items()}
        self.sets = [{name: made[place] for name, made in copies.items()} for place in range(count)]
        self._next = self._endless()

    def refresh(self) -> None:
        """Give every set numbers that no call has met."""
        for stack, pool, row in self._stacks.values():
            start = row * self.rng.randrange(_WINDOWS)
            stack.copy_(pool[start : start + stack.numel()])

    def following(self) -> dict[str, Tensor]:
        """Return the set whose turn it is."""
        return next(self._next)

    def _endless(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from self.sets

    def _copies(self, name: str, tensor: Tensor, count: int, fresh: bool) -> list[Tensor]:
        """Return copies of a tensor in its layout, one behind the other in memory."""
        import torch

        if not fresh or not tensor.numel():
            return [tensor] * count
        plain, each = tensor.detach(), _ALIGNED // tensor.element_size()
        length = sum((n - 1) * stride for n, stride in zip(plain.shape, plain.stride(), strict=True)) + 1
        length = -(-length // each) * each
        row = plain.shape[-1] if plain.ndim > 1 and plain.shape[-1] < plain.numel() else 1
        stack, rows = plain.new_empty(count * length), plain.reshape(-1, row)
        needed = -(-stack.numel() // row) + _WINDOWS
        generator = torch.Generator().manual_seed(self.rng.randrange(2**63))
        orders = [torch.randperm(len(rows), generator=generator) for _ in range(-(-needed // len(rows)))]
        pool = rows[torch.cat(orders)[:needed].to(plain.device)].reshape(-1)
        self._stacks[name] = stack, pool, row
        stack.copy_(pool[: stack.numel()])
        views = [stack.as_strided(plain.shape, plain.stride(), place * length) for place in range(count)]
        return [view.detach().requires_grad_(tensor.requires_grad) for view in views]
