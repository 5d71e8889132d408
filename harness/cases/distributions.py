"""Distributions of inputs: what is done to an ordinary tensor, by its role."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.dtypes import DTYPES, DType

Array = NDArray[np.float64]
Change = Callable[[Array, DType], Array]


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


# --- scores far below every finite number that may fill what is hidden


def _depth(fmt: DType) -> float:
    """Return how far below: past -1e9 in float64, past -1e6 over any root of a width in float32.

    A backward pass computes exp(s - lse) again: by a rounding of s it may grow to e^10, and shall not overflow.
    """
    return min(2.0**40, 4 / DTYPES[fmt.accumulator].roundoff, fmt.largest / 64)


def _first_channel(x: Array, first: Array) -> Array:
    return np.concatenate([first, x[..., 1:]], -1)


def _high(x: Array, fmt: DType) -> Array:
    return _lifted(np.sqrt(_depth(fmt)), x)


def _low(x: Array, fmt: DType) -> Array:
    """Spread the first channel too, so that no rounding can swap two keys."""
    return _first_channel(x, -np.sqrt(_depth(fmt)) * (1 + np.abs(x[..., :1]) / 2))


def _high_and_low(x: Array, fmt: DType) -> Array:
    """Of a sequence that is query and key at once: the two signs in turn."""
    signs = np.where(np.arange(x.shape[-2]) % 2, 1.0, -1.0)[:, None]
    return _first_channel(x, signs * np.sqrt(_depth(fmt)) * (1 + np.abs(x[..., :1]) / 2))


def _low_bias(bias: Array, fmt: DType) -> Array:
    """Lower every other row, past -1e4 in every format, and a place of the others to nearly the least float32."""
    low = -max(_depth(fmt), 1.25e4) * (1 + np.abs(bias) / 2)
    low[..., 1::2, :] = bias[..., 1::2, :]
    low[..., 1::2, -1:] = np.where(np.isneginf(bias[..., 1::2, -1:]), -np.inf, -min(fmt.largest, 2.0**128) / 2)
    return low


# --- products and biases far from zero, at which the scores still differ as ordinary ones do


def _level(x: Array, product: float) -> Array:
    """Put in the first channel what gives every product of query and key so much, times the root of the width."""
    return _first_channel(x, np.full_like(x[..., :1], abs(product) ** 0.5 * x.shape[-1] ** 0.25))


def _fall(fmt: DType) -> float:
    """Return how far scores may lie below zero, past -1e4 or -1e9, without losing what they differ by."""
    return 2.0**31 if fmt.as_reference else 2.0**14


def _deep_bias(bias: Array, fmt: DType) -> Array:
    """Lower every other row as a whole: past -1e9, past -1e6, or to -20,000."""
    low = bias.copy()
    low[..., ::2, :] -= 2.0**31 if fmt.as_reference else 2.0**20 if fmt.single else 20000.0
    return low


# --- scores that rise or fall along the keys, by more than exp can bridge in a block of 16


def _slope(step: float, x: Array, fmt: DType) -> Array:
    """Return what is added to each key's first channel, whose square stays in the range of the format."""
    return step * np.minimum(np.arange(x.shape[-2])[:, None] * x.shape[-1] ** 0.25, fmt.largest**0.5 / 6)


def _sloping(step: float) -> dict[str, Change]:
    """Let scaled scores differ by 6 from key to key: what is hidden may be far above what is seen, or far below."""
    return {
        "query": lambda x, _: _first_channel(x, _SLOPE * x.shape[-1] ** 0.25 + x[..., :1] / 4),
        "key": lambda x, fmt: _first_channel(x, x[..., :1] / 4 + _slope(step * _SLOPE, x, fmt)),
        "scores": lambda x, _: x + 6 * step * np.arange(x.shape[-1]),
    }


_SLOPE = 6**0.5


def _huge(fmt: DType) -> float:
    """Return a factor with a square beyond the format; where that is the reference's own, beyond every other one."""
    return 2.0**9 if fmt.largest < 2.0**16 else 2.0**400 if fmt.as_reference else 2.0**70


def _counterweight(x: Array, fmt: DType) -> Array:
    """Let values grow from key to key as the weights fall, by e^6, as far as the format reaches."""
    with np.errstate(over="ignore"):  # an infinity is the format's limit too
        return x * np.minimum(np.exp(6.0 * np.arange(x.shape[-2])[:, None]), _huge(fmt))


# --- values at both ends of a format


def _both_ends(x: Array, fmt: DType) -> Array:
    """Make even channels exceed 65,504 where the format can, and odd ones come near its smallest normal number.

    Not nearer than sums in its accumulator stay exact, nor than the square of a number of float64.
    """
    x = x.copy()
    x[..., ::2] *= min(2.0**20, fmt.largest * 2.0**-8)
    x[..., 1::2] *= 2.0 ** max(fmt.least_exponent + 6, DTYPES[fmt.accumulator].least_exponent + 12, -400)
    return x


def _reach(fmt: DType) -> float:
    return 2.0**9 if fmt.largest < 2.0**16 else 2.0**24


def _plain(change: Callable[[Array], Array]) -> Change:
    return lambda x, _: change(x)


DISTRIBUTIONS: dict[str, dict[str, Change]] = {
    "ordinary": {},
    # logits of some tens: the softmax is decided by few keys, and unshifted exponentials overflow in half precision
    "large": {"query": _plain(lambda x: x * 4), "key": _plain(lambda x: x * 4), "scores": _plain(lambda x: x * 16)},
    # a common offset of the logits, which cancels, and one of the values, which does not
    "shifted": {
        "key": _plain(lambda x: x + 3),
        "value": _plain(lambda x: x + 10),
        "scores": _plain(lambda x: x - 100),
    },
    # every logit far below zero: a finite fill of what is masked would win over what is kept
    "sunken": {
        "query": _plain(lambda x: _lifted(24, x)),
        "key": _plain(lambda x: _lifted(-24, x)),
        "scores": _plain(lambda x: x - 30000),
    },
    # every fifth key stands out
    "peaked": {"key": _plain(lambda x: _every(5, 8, x)), "scores": _plain(lambda x: _channel(16, x * 2))},
    "nearly_equal": {"key": _plain(_near_first), "scores": _plain(lambda x: 7 + x * 2.0**-10)},
    # one channel dominates, as in trained language models
    "outlier": {
        "query": _plain(lambda x: _channel(4, x)),
        "key": _plain(lambda x: _channel(8, x)),
        "scores": _plain(lambda x: _channel(8, x)),
    },
    "tiny": {role: _plain(lambda x: x * 2.0**-12) for role in ("query", "key", "value", "scores")},
    # a key decides each row, at scores where any finite fill of what is hidden wins
    "far_below": {
        "query": _high,
        "key": _low,
        "sequence": _high_and_low,
        "scores": lambda x, fmt: -_depth(fmt) * (1 + np.abs(x) / 2),
        "bias": _low_bias,
    },
    # the largest score in any block, and hidden keys that score far above the visible ones, or far below
    "rising": _sloping(1),
    "falling": _sloping(-1),
    "both_ends": {"value": _both_ends},
    # products past 65,504, the same for every key; scaled they are below it
    "large_products": {"query": _plain(lambda x: _level(x, 2.0**15)), "key": _plain(lambda x: _level(x, 2.0**15))},
    # as far below as scores can be that differ as ordinary ones do: any finite fill wins, and all keys count
    "deep": {
        "query": lambda x, fmt: _level(x, _fall(fmt)),
        "key": lambda x, fmt: -_level(-x, _fall(fmt)),
        "scores": _deep_bias,
        "bias": _deep_bias,
    },
    # weights down to the smallest normal number, each of which counts in the sum
    "balanced": _sloping(-1) | {"value": _counterweight},
    # queries near zero beside keys past 65,504, whose squares overflow in half precision; the values' do in single
    "unlike": {
        "query": lambda x, fmt: x / _reach(fmt),
        "key": lambda x, fmt: x * _reach(fmt),
        "value": lambda x, fmt: x * _huge(fmt),
    },
    # inverse bandwidths far above and below one, of either sign, for distances that fit
    "narrow": {"query": _plain(lambda x: x / 16), "key": _plain(lambda x: x / 16), "w": _plain(lambda x: x * 16)},
    "wide": {"query": _plain(lambda x: x * 16), "key": _plain(lambda x: x * 16), "w": _plain(lambda x: x / -16)},
    # one tensor given for every input of its shape: `inputs.tensors`
    "same": {},
    # every score is 0 and every value a small whole number: over 2^k keys exact in every order and dtype
    "exact": {
        "query": _plain(np.zeros_like),
        "key": _plain(np.zeros_like),
        "value": _plain(lambda x: np.rint(2 * x)),
        "scores": _plain(np.zeros_like),
        "sequence": _plain(lambda x: x),
        "context": _plain(lambda x: x),
    },
}

RARE = ("large_products", "deep", "balanced", "unlike", "narrow", "wide", "same", "exact")
"""Contents that rows and problems written by hand ask for: no rule combines them with every other level."""

_ROLES = {"sequence": "query", "context": "key", "query_rotary": "query", "latent": "key", "key_rotary": "key"}
_ROLES |= {f"{role}_{n}": role for role in ("query", "key") for n in (1, 2)}


def distributed(content: str, name: str, drawn: Array, fmt: DType) -> Array:
    """Return the numbers of a tensor under a distribution, from ordinary ones."""
    changes = DISTRIBUTIONS[content]
    change = changes.get(name) or changes.get(_ROLES.get(name, name))
    return change(drawn, fmt) if change else drawn
