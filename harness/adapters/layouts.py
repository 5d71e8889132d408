"""Libraries that keep their axes in another order than (B, H, L, D), or all heads in one axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attention_harness.model.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

HARNESS_LAYOUT = "BHLD"
_ROLES = ("query", "key", "value")


def from_layout(layout: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    r"""Return a decorator for a kernel whose query, key, value and output lie in another layout than (B, H, L, D).

    layout   an order of the letters B, H, L and D, such as "BLHD" or "LBHD"; or of B, L and E, such as "BLE", where
             $E = H D$ holds the heads one after the other

    The kernel gets query (B, H, Lq, D), key (B, Hk, Lk, D) and value (B, Hk, Lk, Dv) in its layout, and its output
    comes back as (B, H, Lq, Dv). They are views where the strides allow it. Every other argument stays as it is, and so
    do weights that come behind the output. Any dtype and device; gradients flow through.

    Raises HarnessError for another layout, for tensors of other axes, and where an output lacks the layout's axes.
    """
    merged = sorted(layout) == sorted("BLE")
    if not merged and sorted(layout) != sorted(HARNESS_LAYOUT):
        raise HarnessError(f"no layout {layout!r}: it is an order of the letters BHLD or BLE, such as BLHD")

    def to_kernel(x: Tensor) -> Tensor:
        if merged:
            return x.transpose(1, 2).flatten(2).permute(["BLE".index(axis) for axis in layout])
        return x.permute([HARNESS_LAYOUT.index(axis) for axis in layout])

    def from_kernel(x: Tensor, heads: int) -> Tensor:
        if getattr(x, "ndim", None) != len(layout):
            shape = tuple(getattr(x, "shape", ())) or type(x).__name__
            raise HarnessError(
                f"the kernel's output is {shape}; expected {len(layout)} axes, {layout}: return it in that layout"
            )
        if merged:
            return x.permute([layout.index(axis) for axis in "BLE"]).unflatten(2, (heads, -1)).transpose(1, 2)
        return x.permute([layout.index(axis) for axis in HARNESS_LAYOUT])

    def decorate(kernel: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(kernel)
        def adapted(query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Any:
            if query.ndim != len(HARNESS_LAYOUT):
                raise HarnessError(
                    f"from_layout takes tensors (B, H, L, D), and the query is {tuple(query.shape)}; "
                    "leave it out where the mechanism has no axis of heads"
                )
            converted = {name: to_kernel(x) for name, x in zip(_ROLES, (query, key, value), strict=True)}
            found = kernel(**converted, **others)
            if isinstance(found, tuple):
                return (from_kernel(found[0], query.shape[1]), *found[1:])
            return from_kernel(found, query.shape[1])

        return adapted

    return decorate
