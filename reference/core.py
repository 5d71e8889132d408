r"""What the mechanisms share: which keys a query sees, the softmax over them, and the weighted sum.

$$O_i = \sum_j P_{ij} V_j, \quad P_{ij} = \frac{\exp S_{ij}}{\sum_{j' \in \mathcal{N}(i)} \exp S_{ij'}},
\quad j \in \mathcal{N}(i)$$

$\mathcal{N}(i)$ is the set of keys that query i sees; a query that sees none has zero weights and zero output.

The arrays are NumPy's, or others that bring their own form of these operations: `arrays`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options import OPTIONS, Place, interval, pipeline
from attention_harness.reference.arrays import operations


def visible_keys(shape: tuple[int, ...], *, place: Place | None = None, **options: Any) -> NDArray[np.bool_]:
    """Return, in the shape of the scores `(B, ..., Lq, Lk)`, which keys each query sees: all options together.

    options   of `harness/options`, by name: a tensor, or the form of an option that has none
    place     which queries these are, where the scores are a block of their rows
    """
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; known: {', '.join(OPTIONS)}")
    place = place or Place(shape[-2], shape[-1])
    keys = np.arange(shape[-1])
    first, last = interval(options, place)
    visible = np.array(np.broadcast_to((first <= keys) & (keys <= last), shape))
    for name, value in options.items():
        rule = OPTIONS[name].visible
        if rule is not None and value is not None:
            visible &= np.broadcast_to(rule(value, shape), shape)
    return visible


def softmax(scores: Any, visible: NDArray[np.bool_], fully_masked_rows: str = "zero") -> Any:
    """Return the softmax over the visible keys; `fully_masked_rows` is the policy for a query that sees none.

    "zero" is the rule of this harness. "nan" and "mean" are what other libraries do; they stand here so that an
    implementation that declares one of them is held to it.
    """
    return operations(scores).softmax(scores, visible, fully_masked_rows)


def attend(scores: Any, value: Any, **options: Any) -> tuple[Any, Any]:
    """Return (output, weights): the weights of the visible keys, times the values."""
    weights = visible_weights(scores, **options)
    return weights @ value, weights


def visible_weights(scores: Any, *, fully_masked_rows: str = "zero", place: Place | None = None, **options: Any) -> Any:
    """Return the weights: what the options make of the scores, in the order of the pipeline, then the softmax."""
    visible = visible_keys(scores.shape, place=place, **options)
    for option in pipeline():
        value = options.get(option.name)
        if option.apply is not None and value is not None:
            scores = option.apply(scores, _operand(value, scores))
    return softmax(scores, visible, fully_masked_rows)


def _operand(value: Any, scores: Any) -> Any:
    """Return an option's number, or its tensor with 0 for -inf, which has done its work in `visible_keys`."""
    if isinstance(value, int | float):
        return computed(np.float64(value), scores, 1)
    return operations(value).finite(value)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    r"""Return $[x_1; x_2; \dots] W^\top + b$: parts (..., I_n), weight (O, sum of I_n), bias (O) -> (..., O).

    One array is one part. Parts broadcast against each other, as the pairs of queries and keys do.
    """
    parts = x if isinstance(x, tuple) else (x,)
    return operations(parts[0]).linear(parts, weight, bias)


def normalise(x: Any) -> Any:
    r"""Return $x / \lVert x \rVert$ along the last axis; a zero vector stays zero."""
    return operations(x).normalise(x)


def computed(constant: NDArray[np.float64] | np.float64, like: Any, roundings: float) -> Any:
    """Return a constant that every implementation computes for itself, with at most so many rounding errors."""
    return operations(like).computed(like, constant, roundings)


def repeat_heads(x: Any, heads: int) -> Any:
    """Return x (B, Hk, L, D) with each head repeated for its `heads / Hk` neighbours: grouped heads."""
    heads_of_keys = x.shape[-3]
    return x if heads_of_keys == heads else x.repeat(heads // heads_of_keys, axis=-3)


def split_heads(x: Any, heads: int) -> Any:
    """(B, L, H * D) -> (B, H, L, D)."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def merge_heads(x: Any) -> Any:
    """(B, H, L, D) -> (B, L, H * D)."""
    batch, heads, length, width = x.shape
    return x.swapaxes(1, 2).reshape(batch, length, heads * width)
