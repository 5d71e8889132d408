r"""What an input errs that an implementation itself turns into codes of 8 bits, as kernels of SageAttention's kind do.

A group of numbers shares the scale $s = \max |x| / c$, where c is the largest code, and $\hat x$ is s times the code
next to $x / s$: of int8 at most $s / 2$ away, of a float8 $u |x|$ or half its subnormal spacing times s. A group has at
most the positions and features of one head. Keys may lose their mean first, which the softmax does not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.bounds.rounding import Model, rounding_variance
from attention_harness.model.dtypes import CODES

_OF_SCALE = 4  # roundings of a scale, of the quotient by it and of the product with it, in the format of sums


def quantised_inputs(given: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Return those of the exact inputs that the implementation quantises, as what their codes stand for."""
    return {name: _quantised(given[name], code, model) for name, code in model.quantised if name in given}


def _quantised(x: Any, code: str, model: Model) -> Any:
    """Return an exact input (..., L, D) as the numbers that its codes stand for."""
    fmt, value = CODES[code], x.value
    size = np.maximum(np.abs(value), np.abs(value - value.mean(-2, keepdims=True) if value.shape[-2] else value))
    scale = size.max((-2, -1), keepdims=True, initial=0.0) / fmt.largest
    bound = fmt.roundoff * size + fmt.half_spacing * scale + _OF_SCALE * model.acc.roundoff * size
    unit = np.divide(size, scale, out=np.zeros_like(size), where=scale > 0)
    return x.like(value, bound, rounding_variance(unit, fmt) * scale**2)
