"""What arrays that are none of NumPy's make of their own operations: NumPy's functions, and a norm by mean squares."""

from __future__ import annotations

from typing import Any

import numpy as np

_OWN = {np.tanh: "tanh", np.sin: "sin", np.cos: "cos", np.add: "__radd__", np.multiply: "__rmul__"}


class Ufuncs:
    """Answers NumPy's functions by an array's own methods: np.tanh(x), np.equal(x, y), operators with x behind them."""

    value: Any

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        if ufunc is np.equal:
            return np.equal(self.value, inputs[1])
        own = getattr(self, _OWN.get(ufunc, ""), None)
        return own(*inputs[:-1]) if own and inputs[-1] is self else NotImplemented

    def normalise_rms(self: Any, weight: Any, epsilon: float) -> Any:
        r"""Return $w \frac{x}{\sqrt{|x|^2/n + \epsilon}} = w \sqrt{n} \frac{x}{|(x, \sqrt{n \epsilon})|}$.

        It is a piece of the unit vector of a longer one, whose errors and gradient are known. A layer's output may
        be a tensor in the case's dtype, before and after the weights.
        """
        width = self.shape[-1]
        longer = self.beside(self.computed(np.float64((width * epsilon) ** 0.5), 2))
        normed = longer.normalise()[..., :width] * self.computed(np.float64(width**0.5), 1)
        return (normed.as_output() * weight).as_output()
