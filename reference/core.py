r"""What the mechanisms share: which keys a query sees, the softmax over them, and the weighted sum.

$$O_i = \sum_j P_{ij} V_j, \quad P_{ij} = \frac{\exp S_{ij}}{\sum_{j' \in \mathcal{N}(i)} \exp S_{ij'}},
\quad j \in \mathcal{N}(i)$$

$\mathcal{N}(i)$ is the set of keys that query i sees; a query that sees none has zero weights and zero output.

The arrays are NumPy's, or others that bring their own form of these operations: `arrays`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.capabilities import Policy, word_of
from attention_harness.options import OPTIONS, Moved, Option, Place, pipeline
from attention_harness.reference.arrays import Words, operations


def visible_keys(shape: tuple[int, ...], *, place: Place | None = None, **options: Any) -> NDArray[np.bool_]:
    """Return, in the shape of the scores `(B, ..., Lq, Lk)`, which keys each query sees: all options together.

    options   of `harness/options`, by name: a tensor, or the form of an option that has none
    place     which queries these are, where the scores are a block of their rows
    """
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; known: {', '.join(OPTIONS)}")
    visible = np.ones(shape, bool)
    for name in _hiding(options):
        visible &= _shown_by(name, shape, place, options)
    return visible


def _hiding(options: Mapping[str, Any]) -> list[str]:
    return [name for name, value in options.items() if value is not None and OPTIONS[name].hides]


def _shown_by(name: str, shape: tuple[int, ...], place: Place | None, options: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which keys one of the options shows each query."""
    option, keys = OPTIONS[name], np.arange(shape[-1])
    shown = np.True_ if option.visible is None else option.visible(options[name], shape)
    if option.interval is not None:
        first, last = option.interval(options[name], place or _whole(shape), options)
        shown = shown & (first <= keys) & (keys <= last)
    return np.broadcast_to(shown, shape)


def _whole(shape: tuple[int, ...]) -> Place:
    return Place(shape[-2], shape[-1], outer=len(shape) - 2)


def words_of_rows(
    policy: Policy, shape: tuple[int, ...], *, place: Place | None = None, **options: Any
) -> NDArray[np.str_]:
    """Return what each row gets if it sees no key, (..., Lq, 1).

    Where that differs by the option that hides the keys, the first of these decides that hides the whole row, or else
    that hides some of it: first in the policy's order, then those that it does not name.
    """
    if isinstance(policy, str):
        return np.full((*shape[:-1], 1), policy)
    words, hidden = np.full((*shape[:-1], 1), "zero"), np.zeros((*shape[:-1], 1), np.int64)
    order = [way for way, _ in policy]
    for name in sorted(_hiding(options), key=lambda name: order.index(name) if name in order else len(order)):
        shown = _shown_by(name, shape, place, options)
        part = 2 * ~shown.any(-1, keepdims=True) | ~shown.all(-1, keepdims=True)  # 3: the whole row, 1: some of it
        words, hidden = np.where(part > hidden, word_of(policy, name), words), np.maximum(part, hidden)
    return words


def softmax(scores: Any, visible: NDArray[np.bool_], fully_masked_rows: Words = "zero") -> Any:
    """Return the softmax over the visible keys; `fully_masked_rows` is the policy for a query that sees none.

    "zero" is the rule of this harness. "nan" and "mean" are what other libraries do; they stand here so that an
    implementation that declares one of them is held to it.
    """
    return operations(scores).softmax(scores, visible, fully_masked_rows)


def attend(scores: Any, value: Any, **options: Any) -> tuple[Any, Any]:
    """Return (output, weights): the weights of the visible keys, times the values.

    Values may come as two matrices whose product they are, of which the weights may meet the first one first.
    """
    weights, keys = _all_weights(scores, **options), scores.shape[-1]
    value, *weight = value if isinstance(value, tuple) else (value,)
    value = _beside(value, weights.shape[-1] - keys)
    output = products((weights, value, *weight)) if weight else weights @ value
    return output, _of_keys(weights, keys)


def attend_by_difference(scores: tuple[Any, Any], factor: Any, value: Any, **options: Any) -> tuple[Any, Any]:
    """Return (output, weights): weights of the first scores minus a factor times those of the second, by the values.

    The options act on both scores alike.
    """
    first, second = (_all_weights(each, **options) for each in scores)
    keys = scores[0].shape[-1]
    output = operations(first).difference_sum(first, factor, second, _beside(value, first.shape[-1] - keys))
    first, second = (_of_keys(each, keys) for each in (first, second))
    return output, operations(first).difference(first, factor, second)


def _beside(value: Any, further: int) -> Any:
    """Return the values, and 0 for what stands beside the keys in the softmax: what has no key has no value."""
    for _ in range(further):
        rows = value.swapaxes(-1, -2)
        value = operations(rows).beside(rows, np.zeros(1)).swapaxes(-1, -2)
    return value


def visible_weights(scores: Any, **options: Any) -> Any:
    """Return the weights: what the options make of the scores, in the order of the pipeline, then the softmax."""
    return _of_keys(_all_weights(scores, **options), scores.shape[-1])


def _of_keys(weights: Any, keys: int) -> Any:
    """Return the weights of keys, without those of what stands beside them in the softmax."""
    if weights.shape[-1] == keys:
        return weights
    return weights[..., :keys] if isinstance(weights, np.ndarray) else weights.of_keys(keys)


def _all_weights(
    scores: Any,
    *,
    fully_masked_rows: Policy = "zero",
    place: Place | None = None,
    moved: Mapping[str, Moved] = MappingProxyType({}),
    **options: Any,
) -> Any:
    """Return the weights of the keys, and of what options set beside them.

    moved: options that act elsewhere than by the contract. It stands here so that what other libraries do can be named.
    """
    visible = visible_keys(scores.shape, place=place, **options)
    for option in pipeline(moved):
        value = options.get(option.name)
        if value is None:
            continue
        if option.apply is not None:
            scores = option.apply(scores, _operand(value, scores))
        if option.name in moved and moved[option.name].seen:
            hidden = ~_shown_by(moved[option.name].behind, scores.shape, place, options)
            scores = scores * ~hidden + np.where(hidden, _of_hidden(option, value), 0.0)
            others = {name: form for name, form in options.items() if name != moved[option.name].behind}
            visible = visible_keys(scores.shape, place=place, **others)
        here = place or _whole(scores.shape)
        if option.picks is not None:
            scores = scores + operations(value).picked(value, option.picks(here, options))
        if option.adds is not None:
            added, roundings = option.adds(value, scores.shape, here, options)
            scores = scores + computed(added, scores, roundings)
    words = words_of_rows(fully_masked_rows, scores.shape, place=place, **options)
    for option in pipeline():
        if option.beside is not None and options.get(option.name) is not None:
            column = option.beside(options[option.name])
            scores = operations(scores).beside(scores, column)
            visible = np.concatenate([visible, np.ones((*visible.shape[:-1], 1), bool)], -1)
    return softmax(scores, visible, words)


def _of_hidden(option: Option, value: float) -> Any:
    """Return the score of a hidden key, -inf, once an option has acted on it."""
    return option.apply(np.float64(-np.inf), value) if option.apply else -np.inf


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


def products(*terms: tuple[Any, ...]) -> Any:
    r"""Return $\sum_n A_n B_n$, of terms of two matrices or of three, $A_n B_n C_n$: of these either pair first."""
    return operations(terms[0][-1]).products(terms)


def normalise(x: Any) -> Any:
    r"""Return $x / \lVert x \rVert$ along the last axis; a zero vector stays zero."""
    return operations(x).normalise(x)


def normalise_rms(x: Any, weight: Any, epsilon: float) -> Any:
    r"""Return $w x / \sqrt{\operatorname{mean}(x^2) + \epsilon}$ along the last axis."""
    return operations(x).normalise_rms(x, weight, epsilon)


def computed(constant: NDArray[np.float64] | np.float64, like: Any, roundings: Any) -> Any:
    """Return a constant that every implementation computes itself, right to so many roundings, of all or of each."""
    return operations(like).computed(like, constant, roundings)


def stored(x: Any) -> Any:
    """Return an array as an implementation may store it between two steps: in the case's dtype."""
    return operations(x).as_output(x)


def wide(x: Any, like: Any) -> Any:
    """Return an input, with another one, where an implementation computes in the format of its sums."""
    x = operations(like).alike(like, x)
    return operations(x).wide(x)


def narrow(x: Any, like: Any) -> Any:
    """Return x stored in the format of another array."""
    return operations(x).narrow(x, like)


def positions(x: Any) -> Any:
    """Return x (..., L, D) at each position, (..., 1, D)."""
    return operations(x).positions(x)


def corrected(state: Any, key: Any, value: Any, rate: Any) -> Any:
    r"""Return a state (..., D, Dv) corrected by the delta rule, $S + b k (v - S^\top k)^\top$, at one position."""
    return operations(state).corrected(state, key, value, rate)


def joined(rows: Any) -> Any:
    """Return (..., L, D) of one or more positions, (..., 1, D) each."""
    return operations(rows[0]).joined(rows)


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
