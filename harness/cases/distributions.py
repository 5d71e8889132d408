"""Distributions of inputs: what is done to an ordinary tensor, by its role."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Change = Callable[[Array], Array]


def _every(step: int, factor: float, x: Array) -> Array:
    x = x.copy()
    x[..., ::step, :] *= factor
    return x


def _channel(factor: float, x: Array) -> Array:
    x = x.copy()
    x[..., :1] *= factor
    return x


def _lifted(offset: float, x: Array) -> Array:
    x = x.copy()
    x[..., :1] += offset
    return x


def _near_first(x: Array) -> Array:
    return x[..., :1, :] + x * 2.0**-10


DISTRIBUTIONS: dict[str, dict[str, Change]] = {
    "ordinary": {},
    # logits of some tens: the softmax is decided by few keys, and unshifted exponentials overflow in half precision
    "large": {"query": lambda x: x * 4, "key": lambda x: x * 4, "scores": lambda x: x * 16},
    # a common offset of the logits, which cancels, and one of the values, which does not
    "shifted": {"key": lambda x: x + 3, "value": lambda x: x + 10, "scores": lambda x: x - 100},
    # every logit far below zero: a finite fill of what is masked would win over what is kept
    "sunken": {
        "query": lambda x: _lifted(24, x),
        "key": lambda x: _lifted(-24, x),
        "scores": lambda x: x - 30000,
    },
    # every fifth key stands out
    "peaked": {"key": lambda x: _every(5, 8, x), "scores": lambda x: _channel(16, x * 2)},
    "nearly_equal": {"key": _near_first, "scores": lambda x: 7 + x * 2.0**-10},
    # one channel dominates, as in trained language models
    "outlier": {"query": lambda x: _channel(4, x), "key": lambda x: _channel(8, x), "scores": lambda x: _channel(8, x)},
    "tiny": {role: (lambda x: x * 2.0**-12) for role in ("query", "key", "value", "scores")},
}

_ROLES = {"sequence": "query", "context": "key"}


def distributed(content: str, name: str, drawn: Array) -> Array:
    """Return the numbers of a tensor under a distribution, from ordinary ones."""
    change = DISTRIBUTIONS[content].get(_ROLES.get(name, name))
    return change(drawn) if change else drawn
