"""Binary formats, what a declared arithmetic means in them, and the errors of roundings and sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.capabilities import Arithmetic

Array = NDArray[np.float64]

MEAN_SQUARE_ROUNDING = 0.18  # E[eps^2] / u^2, round to nearest even, mantissa log-uniform (NUMERICS, section 1)


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: unit roundoff, smallest normal, half the subnormal spacing, largest number."""

    roundoff: float
    smallest: float
    half_spacing: float
    largest: float


def _ieee(precision: int, least_exponent: int, largest: float) -> Format:
    half_spacing = max(2.0 ** (least_exponent - precision), 5e-324)  # float64 has no number for its own
    return Format(2.0**-precision, 2.0**least_exponent, half_spacing, largest)


FORMATS = {
    "float64": _ieee(53, -1022, float(np.finfo(np.float64).max)),
    "float32": _ieee(24, -126, float(np.finfo(np.float32).max)),
    "float16": _ieee(11, -14, float(np.finfo(np.float16).max)),
    "bfloat16": _ieee(8, -126, (2 - 2.0**-7) * 2.0**127),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A declared arithmetic on a dtype: `io` stores inputs and output, `acc` sums, `step` holds the scores' steps."""

    io: Format
    acc: Format
    step: Format
    probabilities: Format
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
        io = FORMATS[dtype]
        acc = FORMATS[arithmetic.accumulator or ("float64" if dtype == "float64" else "float32")]
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


def rounding_variance(value: Array, fmt: Format) -> Array:
    """Variance of one rounding to nearest: ulp^2 / 12, ulp = 2^e u for 2^(e-1) <= |value| < 2^e, or the subnormals'."""
    ulp = np.maximum(np.ldexp(fmt.roundoff, np.frexp(np.nan_to_num(value))[1]), 2 * fmt.half_spacing)
    return ulp**2 / 12


def sum_variance(n: int, squares: Array, total: Array, acc: Format) -> Array:
    """Variance of a sum of n products: each product's rounding, and those of the partial sums."""
    return MEAN_SQUARE_ROUNDING * acc.roundoff**2 * ((n / 2 + 1) * squares + (n / 3 + 1) * total**2)
