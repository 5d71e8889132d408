"""Binary formats, what a declared arithmetic means in them, and the errors of roundings and sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES, DType

Array = NDArray[np.float64]

MEAN_SQUARE_ROUNDING = 0.18  # E[eps^2] / u^2, round to nearest even, mantissa log-uniform (NUMERICS, section 1)


@dataclass(frozen=True, slots=True)
class Model:
    """A declared arithmetic on a dtype: `io` stores inputs and output, `acc` sums, `step` holds the scores' steps."""

    io: DType
    acc: DType
    step: DType
    probabilities: DType
    split_keys: bool
    scaled_inputs: bool
    block: int
    exp_ulp: float
    fused: bool = False
    from_output: bool = False
    gradient_block: int = 0
    partial: int = 0  # terms of a matrix product whose partial sums are stored in io; 0: the sum stays in acc

    @classmethod
    def of(cls, arithmetic: Arithmetic, dtype: str) -> Model:
        """Return the model that an implementation's declaration means for a dtype."""
        io = DTYPES[dtype]
        acc = DTYPES[arithmetic.accumulator or io.accumulator]
        return cls(
            io=io,
            acc=acc,
            step=io if arithmetic.rounded_scores else acc,
            probabilities=io if arithmetic.stored_probabilities else acc,
            split_keys=arithmetic.split_keys,
            scaled_inputs=arithmetic.scaled_inputs,
            block=arithmetic.block,
            exp_ulp=arithmetic.exp_ulp,
            fused=not arithmetic.rounded_scores,
            from_output=not (arithmetic.rounded_scores and arithmetic.stored_probabilities),
            gradient_block=arithmetic.gradient_block,
        )


def gamma(roundings: float, roundoff: float) -> float:
    """Return the bound of that many roundings, infinite where there is none."""
    x = roundings * roundoff
    return x / (1 - x) if x < 1 else np.inf


def rounding_variance(value: Array, fmt: DType) -> Array:
    """Variance of one rounding to nearest: ulp^2 / 12, ulp = 2^e u for 2^(e-1) <= |value| < 2^e, or the subnormals'."""
    ulp = np.maximum(np.ldexp(fmt.roundoff, np.frexp(np.nan_to_num(value))[1]), 2 * fmt.half_spacing)
    return ulp**2 / 12


def sum_variance(n: int, squares: Array, total: Array, acc: DType) -> Array:
    """Variance of a sum of n products: each product's rounding, and those of the partial sums."""
    return MEAN_SQUARE_ROUNDING * acc.roundoff**2 * ((n / 2 + 1) * squares + (n / 3 + 1) * total**2)
