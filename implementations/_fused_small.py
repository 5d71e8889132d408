"""Eager's way for what is small, in which a call more costs more than a product. Of `fused`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def output_of(function: Callable[..., tuple[Tensor, Tensor]], **arguments: Any) -> Tensor:
    """Return the output alone of a function that returns weights as well."""
    return function(**arguments)[0]


def is_small(query: Tensor, key: Tensor, width: int, limit: int) -> bool:
    """Return whether there are so few features of pairs that they are better held than streamed."""
    return math.prod(query.shape[:-1]) * key.shape[-2] * width <= limit


def unfused(function: Callable[..., Any], *tensors: Tensor, **visibility: Any) -> tuple[Any, ...]:
    """Return eager's output, in float32 or better until it is stored, None, and what it returns beside its weights."""
    for name in ("bias", "relative_bias", "sinks"):
        if visibility.get(name) is not None:
            visibility[name] = wide(visibility[name])
    output, _, *others = function(*map(wide, tensors), **visibility)
    return output.to(tensors[0].dtype), None, *others


def wide(x: Tensor) -> Tensor:
    """Return x in float32, or in float64 if that is what it is in."""
    return x if x.element_size() >= 4 else x.float()
