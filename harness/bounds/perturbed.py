"""Runs the formulas of `reference` with another function in the place of the softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.rounding import Array
from attention_harness.reference.arrays import Plain, Words

Change = Callable[[Array, NDArray[np.bool_], Words], Array]
"""Scores, which of them are visible, and what a fully masked row gets -> weights: as `reference.core.softmax`."""


class Perturbed(Plain, np.ndarray):
    """A NumPy array that carries what takes the place of the softmax through a formula."""

    change: Any = None

    def __array_finalize__(self, parent: Any) -> None:
        self.change = getattr(parent, "change", None)

    def beside(self, column: Any) -> Any:
        """Return the array with a further column; NumPy's would have forgotten what takes the place of the softmax."""
        joined = Plain.beside(np.asarray(self), np.asarray(column)).view(Perturbed)
        joined.change = self.change
        return joined

    def softmax(self, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Any:
        """Return the weights that the replacement makes of the scores."""
        return self.change(np.asarray(self), visible, fully_masked_rows)


@np.errstate(all="ignore")
def evaluate(
    formula: Callable[..., Any], tensors: Mapping[str, NDArray[Any]], arguments: Mapping[str, Any], change: Change
) -> Array:
    """Return a formula's output with `change` in the place of the softmax."""

    def perturbed(x: NDArray[Any]) -> NDArray[Any]:
        if x.dtype.kind != "f":
            return x
        view = x.view(Perturbed)
        view.change = change
        return view

    return np.asarray(formula(**{name: perturbed(x) for name, x in tensors.items()}, **arguments)[0])
