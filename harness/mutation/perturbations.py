"""Exact computations with one error each: what takes the place of the softmax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.perturbed import Change
from attention_harness.reference import core

Array = NDArray[np.float64]


def exact(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
    """Change nothing."""
    return core.softmax(scores, visible, fully_masked_rows)


def temperature(eps: float) -> Change:
    """Return the softmax of scores times 1 + eps."""
    return lambda scores, visible, fully_masked_rows: core.softmax(scores * (1 + eps), visible, fully_masked_rows)


def weight(eps: float) -> Change:
    """Return the softmax with one log-weight of each row moved by eps."""

    def change(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
        p = core.softmax(scores, visible)
        moved = np.zeros_like(scores)
        if scores.shape[-1]:
            np.put_along_axis(moved, np.argmax(p * (1 - p), -1, keepdims=True), eps, -1)
        return core.softmax(scores + moved, visible, fully_masked_rows)

    return change


def dropped(threshold: float) -> Change:
    """Return the softmax without the heaviest key of weight `threshold` or less; a row's only key stays."""

    def change(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
        return core.softmax(
            scores, visible & ~chosen_keys(core.softmax(scores, visible), visible, threshold), fully_masked_rows
        )

    return change


def chosen_keys(p: Array, visible: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """Return True at the key of each row that is dropped."""
    chosen = np.zeros(p.shape, bool)
    if p.shape[-1] == 0:
        return chosen
    light = np.where(visible & (p <= threshold) & (visible.sum(-1, keepdims=True) >= 2), p, -1.0)
    np.put_along_axis(chosen, np.argmax(light, -1, keepdims=True), True, -1)
    return chosen & (light >= 0)
