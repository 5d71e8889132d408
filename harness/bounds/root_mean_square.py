"""The norm by the root mean square, made of operations whose errors and gradients are known."""

from __future__ import annotations

from typing import Any

import numpy as np


class RootMeanSquare:
    """Of an array with the operations of `Composite`."""

    def normalise_rms(self: Any, weight: Any, epsilon: float) -> Any:
        r"""Return $w \frac{x}{\sqrt{|x|^2/n + \epsilon}} = w \sqrt{n} \frac{x}{|(x, \sqrt{n \epsilon})|}$.

        The vector with $\sqrt{n \epsilon}$ appended has this norm, so that `normalise` bounds the quotient. The
        normalised vector and its product with w may each be stored in the case's dtype.
        """
        width = self.shape[-1]
        longer = self.beside(self.computed(np.float64((width * epsilon) ** 0.5), 2))
        normed = longer.normalise()[..., :width] * self.computed(np.float64(width**0.5), 1)
        return (normed.as_output() * weight).as_output()
