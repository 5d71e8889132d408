"""Who chooses the roundings of a simulated implementation, and the sums and products that are made of them.

The formats are far coarser than float64, in which all this is computed and whose errors do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attention_harness.model.dtypes import DType


def nearest(x, fmt: DType):
    """Return numbers rounded to nearest even in a format."""
    exponent = np.frexp(x)[1]
    unit = np.maximum(exponent - fmt.precision, fmt.least_exponent - fmt.precision + 1)
    return np.ldexp(np.rint(np.ldexp(x, -unit)), unit)


def largest(fmt: DType) -> float:
    """Return the largest relative error of a rounding to nearest: that of 1 + u."""
    return fmt.roundoff / (1 + fmt.roundoff)


@dataclass
class Adversary:
    """Who decides how each rounding errs.

    mode  "nearest": to nearest even; "random": by the largest error, up or down by chance; "up", "down": by the largest
          error in the direction that moves the result of the operation up, or down, where all numbers are positive
    """

    mode: str
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def late(self) -> bool:
        """Return whether this time a constant, or a third factor, is multiplied in another order than the formula's."""
        return self.mode in ("up", "down") or (self.mode == "random" and bool(self.rng.integers(2)))

    def direction(self, shape: tuple[int, ...], sense: float) -> Any:
        """Return -1 or 1 for every element. sense: the sign of the result's derivative by what is rounded."""
        if self.mode == "random":
            return self.rng.choice([-1.0, 1.0], shape)
        return sense if self.mode == "up" else -sense

    def off(self, x, relative: float, absolute: float = 0.0, sense: float = 1):
        """Return numbers that err by a relative or an absolute error, whichever is larger; zeros are exact."""
        if self.mode == "nearest":
            return x
        return x + np.where(
            x == 0, 0.0, self.direction(np.shape(x), sense) * np.maximum(relative * np.abs(x), absolute)
        )

    def store(self, x, fmt: DType, sense: float = 1):
        """Return numbers stored in a format."""
        return nearest(x, fmt) if self.mode == "nearest" else self.off(x, largest(fmt), fmt.half_spacing, sense)

    def relative(self, x, fmt: DType, sense: float = 1):
        """Return numbers stored in a format, none of which is rounded to a subnormal number."""
        return nearest(x, fmt) if self.mode == "nearest" else self.off(x, largest(fmt), sense=sense)

    def product(self, a, b, fmt: DType, sense: float = 1):
        """Return products in a format; one below the smallest normal number may vanish."""
        return self.flushed(self.store(a * b, fmt, sense), fmt, sense)

    def flushed(self, x, fmt: DType, sense: float = 1):
        """Return numbers of which some below the smallest normal number are zero: those that a zero moves as wanted."""
        if self.mode == "nearest":
            return x
        wanted = np.sign(x) != self.direction(x.shape, sense)
        return np.where((np.abs(x) < fmt.smallest) & wanted, 0.0, x)

    def added(self, terms: Sequence[Any], fmt: DType, sense: float = 1):
        """Return the sum of terms, one after the other, each partial sum stored; subnormal sums are exact."""
        order = self.rng.permutation(len(terms)) if self.mode == "random" else range(len(terms))
        total = None
        for k in order:
            total = terms[k] if total is None else self.relative(total + terms[k], fmt, sense)
        return np.zeros(()) if total is None else total

    def sum(self, x, fmt: DType, sense: float = 1):
        """Return the sum along the last axis, which stays with length 1."""
        if x.shape[-1] == 0:
            return np.zeros((*x.shape[:-1], 1))
        return self.added([x[..., k : k + 1] for k in range(x.shape[-1])], fmt, sense)

    def dot(self, a, b, fmt: DType, sense: float = 1, partial: int = 0, store: DType | None = None):
        """Return a matrix product; with `partial`, sums over so many terms are stored and added up in `store`."""
        k = a.shape[-1]
        terms = [self.product(a[..., :, j : j + 1], b[..., j : j + 1, :], fmt, sense) for j in range(k)]
        if not terms:
            return np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
        if not partial or k <= partial:
            return self.added(terms, fmt, sense)
        blocks = [self.added(terms[j : j + partial], fmt, sense) for j in range(0, k, partial)]
        return self.added([self.store(block, store, sense) for block in blocks], store, sense)
