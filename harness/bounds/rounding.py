"""What a declared arithmetic means in binary formats, and the errors of roundings and sums.

Notation: $u = 2^{-p}$ is the unit roundoff. Sources: Higham 2002, sections 2 and 3; Higham and Mary 2019 for variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import CODES, DTYPES, PROBABILITIES, Code, DType

Array = NDArray[np.float64]

MEAN_SQUARE_ROUNDING = 0.18
"""E[eps^2] / u^2 of the relative error of one rounding to nearest even, for a mantissa that is log-uniform."""


@dataclass(frozen=True, slots=True)
class Model:
    """A declared arithmetic on a dtype: in which format each step is stored.

    io             inputs and output
    acc            sums
    step           the steps of the scores
    probabilities  the weights, before they meet the values
    fused          the scores never leave the accumulator
    partial        terms of a matrix product whose partial sums are stored in `io`; 0: the sum stays in `acc`
    recurrent      these are steps of a recurrence, whose sums over positions may be made in any order

    The other fields are those of `Arithmetic`.
    """

    io: DType
    acc: DType
    step: DType
    probabilities: DType | Code
    split_keys: bool
    scaled_inputs: bool
    block: int
    exp_ulp: float
    fused: bool = False
    gradient_block: int = 0
    partial: int = 0
    recurrent: bool = False
    quantised: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, arithmetic: Arithmetic, dtype: str) -> Model:
        """Return the model that an implementation's declaration means for a dtype."""
        io = DTYPES[dtype]
        acc = DTYPES[arithmetic.accumulator or io.accumulator]
        codes = arithmetic.codes
        stored = io if arithmetic.stored_probabilities else acc
        return cls(
            io=io,
            acc=acc,
            step=io if arithmetic.rounded_scores else acc,
            probabilities=CODES[codes[PROBABILITIES]].of_unit() if PROBABILITIES in codes else stored,
            split_keys=arithmetic.split_keys,
            scaled_inputs=arithmetic.scaled_inputs,
            block=arithmetic.block,
            exp_ulp=arithmetic.exp_ulp,
            fused=not arithmetic.rounded_scores,
            gradient_block=arithmetic.gradient_block,
            quantised=tuple((name, code) for name, code in codes.items() if name != PROBABILITIES),
        )


def gamma(roundings: Any, roundoff: float) -> Any:
    r"""Return $\gamma_n = n u / (1 - n u)$, the bound of n roundings, a number or an array; infinite for too many."""
    x = np.minimum(np.multiply(roundings, roundoff), 1.0)
    with np.errstate(divide="ignore"):
        return x / (1 - x)


def exceeds(value: Array, fmt: DType) -> bool:
    """Return whether a number is larger than the largest of a format."""
    with np.errstate(invalid="ignore"):
        return bool(np.any(np.abs(value) > fmt.largest))


def compound(*relative: Array | float) -> Any:
    """Return the relative error of a product whose factors err by so much; without cancellation, however small."""
    return np.expm1(sum(np.log1p(x) for x in relative))


def representable(value: Array, fmt: DType) -> NDArray[np.bool_]:
    """Return where a format holds a number exactly."""
    mantissa, exponent = np.frexp(value)
    digits = np.minimum(fmt.precision, exponent - 1 - fmt.least_exponent + fmt.precision)  # fewer for subnormal ones
    scaled = np.ldexp(mantissa, digits)
    return np.asarray((scaled == np.rint(scaled)) & (np.abs(value) <= fmt.largest))


def rounding_variance(value: Array, fmt: DType | Code) -> Array:
    r"""Return $\text{ulp}^2 / 12$, the variance of one rounding to nearest.

    The ulp is $2^e u$ for $2^{e-1} \le |value| < 2^e$, or the spacing of the subnormal numbers.
    """
    finite = value if np.isfinite(value).all() else np.nan_to_num(value)
    ulp = np.maximum(np.ldexp(fmt.roundoff, np.frexp(finite)[1]), 2 * fmt.half_spacing)
    return ulp**2 / 12


def sum_variance(n: int, squares: Array, total: Array, acc: DType) -> Array:
    """Return the variance of a sum of n products: each product's rounding, and those of the partial sums."""
    return MEAN_SQUARE_ROUNDING * acc.roundoff**2 * ((n / 2 + 1) * squares + (n / 3 + 1) * total**2)
