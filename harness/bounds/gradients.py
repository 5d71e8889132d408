"""From a mechanism's formula and an arithmetic to the error bounds of its gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_harness.bounds.error_bound import ErrorBound, Evaluate, bound_of_result
from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.rounding import Array, Model
from attention_harness.bounds.tape import Taped, gradients
from attention_harness.model.capabilities import Arithmetic


def gradient_bounds(
    evaluate: Evaluate,
    tensors: Mapping[str, Array],
    options: Mapping[str, Any],
    dtype: str,
    arithmetic: Arithmetic,
    upstream: Array,
) -> dict[str, ErrorBound]:
    """Return the error bound of the gradient of <upstream, output> for every floating tensor, options among them.

    upstream is exact, as the inputs are. A gradient is stored in the case's dtype.
    """
    model = Model.of(arithmetic, dtype)
    leaves = {name: Taped(array) for name, array in _exact(model, tensors, options).items()}
    output, _ = evaluate(**{**options, **leaves})
    found = gradients([(output, Tracked(model, upstream))], list(leaves.values()))
    return _bounds(model, leaves, found, dtype)


def second_derivative_bounds(
    evaluate: Evaluate,
    tensors: Mapping[str, Array],
    options: Mapping[str, Any],
    dtype: str,
    arithmetic: Arithmetic,
    upstream: Array,
    directions: Mapping[str, Array],
) -> dict[str, ErrorBound]:
    """Return the error bound of the gradient of the sum over tensors of <direction, gradient>: a tape over a tape."""
    model = Model.of(arithmetic, dtype)
    leaves = {name: Taped(array) for name, array in _exact(model, tensors, options).items()}
    first = {name: Taped(leaf) for name, leaf in leaves.items()}
    output, _ = evaluate(**{**options, **first})
    found = gradients([(output, Taped(Tracked(model, upstream)))], list(first.values()))
    steps = [(one, Tracked(model, directions[name])) for name, one in zip(first, found) if one is not None]
    second = gradients(steps, list(leaves.values()))
    return _bounds(model, leaves, second, dtype)


def _exact(model: Model, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> dict[str, Tracked]:
    floating = {name: x for name, x in options.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"}
    return {name: Tracked(model, np.asarray(x, np.float64)) for name, x in (dict(tensors) | floating).items()}


def _bounds(model: Model, leaves: Mapping[str, Taped], found: Sequence[Any], dtype: str) -> dict[str, ErrorBound]:
    """Return the error bounds of gradients; of one that nothing leads to, exactly 0."""
    bounds = {}
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        stored = Tracked(model, np.zeros(leaf.shape)) if gradient is None else gradient.as_output()
        with np.errstate(invalid="ignore"):
            stored.bound = np.nan_to_num(stored.bound, nan=np.inf, posinf=np.inf)
        bounds[name] = bound_of_result(stored, None, None, dtype)
    return bounds
