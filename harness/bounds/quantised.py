r"""What an input errs that an implementation itself turns into codes of 8 bits, as kernels of SageAttention's kind do.

A group of numbers shares the scale $s = \max |x| / c$, where c is the largest code, and $\hat x$ is s times the code
next to $x / s$: of int8 at most $s / 2$ away, of a float8 $u |x|$ or half its subnormal spacing times s. A group has at
most the positions and features of one head. Keys may lose their mean over all positions first, which no weight shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.bounds.rounding import Array, Model, rounding_variance
from attention_harness.model.dtypes import CODES

_OF_SCALE = 4  # roundings of a scale, of the quotient by it and of the product with it, in the format of sums


def quantised_inputs(given: Mapping[str, Any], model: Model, whole: Mapping[str, Array]) -> dict[str, Any]:
    """Return those of the inputs that the implementation quantises, as what their codes stand for.

    whole: the tensors of which the given ones may be some rows: they decide the scales
    """
    return {name: _quantised(given[name], code, model, whole[name]) for name, code in model.quantised if name in given}


def numbers_as_codes(model: Model, whole: Mapping[str, Array]) -> float:
    """Return how many roundings to codes all rows share; infinite where nothing is quantised."""
    return min((float(whole[name].size) for name, _ in model.quantised if name in whole), default=np.inf)


def err_together(model: Model, whole: Mapping[str, Array]) -> bool:
    """Return whether a quantised input holds the numbers of another one: then errors of codes follow these numbers."""
    names = [name for name, _ in model.quantised if name in whole]
    return any(
        np.array_equal(whole[name], whole[other]) for name, other in itertools.product(names, whole) if name != other
    )


def _quantised(x: Any, code: str, model: Model, whole: Array) -> Any:
    """Return an input (..., L, D) as the numbers that its codes stand for."""
    fmt, mean = CODES[code], whole.mean(-2, keepdims=True) if whole.shape[-2] else 0.0
    size = np.maximum(np.abs(x.value), np.abs(x.value - mean)) + x.bound
    tops = np.maximum(np.abs(whole), np.abs(whole - mean)).max((-2, -1), keepdims=True, initial=0.0)
    scale = (tops + np.max(x.bound, initial=0.0)) / fmt.largest
    bound = x.bound + fmt.roundoff * size + fmt.half_spacing * scale + _OF_SCALE * model.acc.roundoff * size
    unit = np.divide(size, scale, out=np.zeros_like(size), where=scale > 0)
    return x.like(x.value, bound, x.variance + rounding_variance(unit, fmt) * scale**2)
