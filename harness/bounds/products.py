r"""Sums of matrix products, of which some have three factors: $A B C$ is $(A B) C$ and $A (B C)$.

Either pair may be multiplied first, and its product stored. Of latent attention both are in use: keys that are made
from the latents, and queries that have absorbed the projection. And two products may be stored one by one and added,
or be one sum: the product of factors that lie beside each other, $A_1 B_1 + A_2 B_2 = [A_1; A_2] [B_1; B_2]$.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_harness.bounds.root_mean_square import RootMeanSquare


class Products(RootMeanSquare):
    """Of tracked arrays."""

    @staticmethod
    def products(terms: tuple[tuple[Any, ...], ...]) -> Any:
        r"""Return $\sum_n A_n B_n$, of terms of two matrices or of three, with the largest error of any way."""
        ways = (_summed(pairs) for pairs in itertools.product(*(_pairs(*term) for term in terms)))
        return functools.reduce(lambda one, other: one.either(other), ways)

    def either(self: Any, other: Any) -> Any:
        """Return this array with the larger error of two ways to compute it."""
        bound, variance = np.maximum(self.bound, other.bound), np.maximum(self.variance, other.variance)
        result = self.like(self.value, bound, variance)
        result.overflows |= other.overflows
        result.stored = self.stored and other.stored
        result.folded = np.maximum(self.folded, other.folded)
        if self.by_output is not None:
            result.by_output = np.maximum(self.by_output, other.by_output)
        return result


def _pairs(left: Any, middle: Any, *right: Any) -> list[tuple[Any, Any]]:
    """Return the two factors that are multiplied last, in each way to multiply two matrices or three."""
    if not right:
        return [(left, middle)]
    return [(left, (middle @ right[0]).as_output()), ((left @ middle).as_output(), right[0])]


def _summed(pairs: Sequence[tuple[Any, Any]]) -> Any:
    """Return the sum of the products of pairs, each of them stored, or all one product."""
    first, *others = [left @ right for left, right in pairs]
    if not others:
        return first
    apart = sum(others, start=first)
    apart.folded = sum(one.folded for one in (first, *others))
    lefts, rights = zip(*pairs, strict=True)
    return apart.either(_beside(lefts, -1) @ _beside(rights, -2))


def _beside(arrays: Sequence[Any], axis: int) -> Any:
    """Return tracked matrices beside each other along an axis, the same one where the others are broadcast."""
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in arrays))

    def joined(name: str) -> Any:
        parts = [np.broadcast_to(getattr(x, name), x.shape) for x in arrays]
        return np.concatenate([np.broadcast_to(part, (*batch, *part.shape[-2:])) for part in parts], axis)

    exact = all(isinstance(x.bound, float) for x in arrays)
    result = arrays[0].like(joined("value"), *((0.0, 0.0) if exact else (joined("bound"), joined("variance"))))
    result.overflows = any(x.overflows for x in arrays)
    result.scaled = max(x.scaled for x in arrays)
    return result
