"""Libraries with arrays of their own: NumPy, JAX, CuPy and whatever else speaks DLPack."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def via_dlpack(from_dlpack: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for a kernel that takes and returns arrays of another library.

    from_dlpack   the library's own: `numpy.from_dlpack`, `jax.dlpack.from_dlpack`, `cupy.from_dlpack`

    Tensors among the arguments, contiguous and without autograd, become arrays that share their memory; the kernel must
    not write there. The answer, one array or a tuple of them, comes back as tensors. Every dtype and device passes that
    both libraries can exchange; NumPy has no bfloat16. No gradients flow through: declare `gradients=False`.
    """

    def decorate(kernel: Callable[..., Any]) -> Callable[..., Any]:
        import torch
        from torch.utils.dlpack import from_dlpack as tensor

        def array(x: Any) -> Any:
            return from_dlpack(x.detach().contiguous()) if isinstance(x, torch.Tensor) else x

        @functools.wraps(kernel)
        def adapted(*arguments: Any, **named: Any) -> Any:
            found = kernel(*map(array, arguments), **{name: array(x) for name, x in named.items()})
            if isinstance(found, tuple):
                return tuple(tensor(x) for x in found)
            return tensor(found)

        return adapted

    return decorate
