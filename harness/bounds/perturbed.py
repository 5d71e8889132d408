"""Runs the formulas of `reference` with another function in the place of the softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Change = Callable[[Array, NDArray[np.bool_], str], Array]
"""Scores, which of them are visible, and what a fully masked row gets -> weights: as `reference.core.softmax`."""


class Perturbed(np.ndarray):
    """An array that carries what takes the place of the softmax through a formula."""

    change: Any = None

    def __array_finalize__(self, parent: Any) -> None:
        self.change = getattr(parent, "change", None)

    def softmax(self, visible: NDArray[np.bool_], fully_masked_rows: str) -> Any:
        """What `reference.core.softmax` calls."""
        return self.change(np.asarray(self), visible, fully_masked_rows)


def evaluate(formula: Callable[..., Any], tensors: Any, arguments: Any, change: Change) -> Array:
    """Return a formula's output with `change` in the place of the softmax."""

    def perturbed(x: Any) -> Any:
        if x.dtype.kind != "f":
            return x
        view = x.view(Perturbed)
        view.change = change
        return view

    return np.asarray(formula(**{name: perturbed(x) for name, x in tensors.items()}, **arguments)[0])
