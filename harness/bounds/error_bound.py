"""From a mechanism's formula and an arithmetic to the error bounds of its output, weights and gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.quantised import err_together, numbers_as_codes, quantised_inputs
from attention_harness.bounds.rounding import Array, Model
from attention_harness.bounds.softmax import Weights
from attention_harness.bounds.tape import Taped, gradients
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES

Evaluate = Callable[..., tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """The exact result, and how far from it an implementation of the declared arithmetic may be.

    value      float64 reference
    bound      largest error of each element, deterministic
    deviation  standard deviation of the error of each element
    linear     rows (the value's shape without its last axis) whose score errors are small enough, and whose weights
               large enough, that the deviation means something; None where the result passed through more than the
               weighted sum
    empty      rows that see no key, or None where there are no scores
    overflow   why the problem lies outside the dtype's range, or ""
    weighing   a number for each row, the same where rows have the same weights, in any order of the keys: they err
               alike. One number for all where the values that are weighted have errors, such as a constant's rounding
    independent  how many independent errors the elements of a row are worth, for each row of a weighted sum
    shared     how many numbers the implementation turns into codes: all rows share their errors
    """

    value: Array
    bound: Array
    deviation: Array
    linear: NDArray[np.bool_] | None
    empty: NDArray[np.bool_] | None
    overflow: str = ""
    weighing: Array | None = None
    independent: Array | None = None
    shared: float = float("inf")


# Numbers beyond float64's range are marked as overflows, not warned of: np.errstate.
_FIRST_ORDER = 0.25  # a log-weight's error beyond this is no longer of first order
_DIGITS = 12  # of the sum of squared weights, by which unlike rows are told apart
_SMALLEST_DEVIATION = float(np.sqrt(np.finfo(np.float64).tiny))  # of less, the square is no number of full precision


@np.errstate(all="ignore")
def error_bounds(
    evaluate: Evaluate,
    tensors: Mapping[str, Array],
    options: Mapping[str, Any],
    dtype: str,
    arithmetic: Arithmetic,
    *,
    weights: bool = True,
    rounded: Collection[str] = (),
    whole: Mapping[str, Array] | None = None,
) -> tuple[ErrorBound, ErrorBound | None]:
    """Return the error bounds of the output and of the weights: `evaluate` run on tracked inputs.

    The inputs are exact: they are the very numbers, rounded to the dtype, that the implementation receives.
    weights: whether those are wanted.
    rounded: inputs that come in another dtype, options among them: the implementation rounds them to this one
    whole: the tensors, where these are some of their rows
    """
    whole = tensors if whole is None else whole
    model = Model.of(arithmetic, dtype)
    tracked = {name: Tracked(model, np.asarray(array, np.float64)) for name, array in tensors.items()}
    given = tracked | {name: Tracked(model, options[name]) for name in rounded if name not in tracked}
    given |= {name: given[name].rounded(given[name].value, 0.0, 0.0, model.io) for name in rounded}
    given |= quantised_inputs(given, model, whole)
    output, second = evaluate(**{**options, **given})
    scores = second if isinstance(second, Weights) else None
    linear = empty = weighing = independent = None
    if scores is not None:
        empty = scores.empty
        independent = np.full(output.shape[:-1], output.shape[-1]) if output is scores else output.independent
        if independent is not None:
            # Weights that a sink has left below every normal number are rounded to 0 or up, all alike.
            normal = scores.value.max(-1, initial=0.0) >= scores.least
            linear = (scores.shift.max(-1, initial=0.0) <= _FIRST_ORDER) & normal & (not err_together(model, whole))
            of_rounded = output is not scores and output.of_rounded
            weighing = np.zeros(linear.shape) if of_rounded else np.round((scores.looked_at**2).sum(-1), _DIGITS)
    empty = second.empty if empty is None and second is not None else empty  # of a difference of weights
    of_weights = bound_of_result(second.as_output(), None, empty, dtype) if second is not None and weights else None
    of_output = bound_of_result(output.as_output(), linear, empty, dtype)
    shared = numbers_as_codes(model, whole)
    return replace(of_output, weighing=weighing, independent=independent, shared=shared), of_weights


@np.errstate(all="ignore")
def weights_of(
    evaluate: Evaluate, tensors: Mapping[str, Array], options: Mapping[str, Any], dtype: str, arithmetic: Arithmetic
) -> Weights:
    """Return the tracked weights of a formula that has some: `evaluate` run on tracked inputs."""
    model = Model.of(arithmetic, dtype)
    tracked = {name: Tracked(model, np.asarray(array, np.float64)) for name, array in tensors.items()}
    tracked |= quantised_inputs(tracked, model, tensors)
    _, weights = evaluate(**{**options, **tracked})
    if not isinstance(weights, Weights):
        raise TypeError(f"{evaluate.__name__} returns no weights of one softmax, so it has no log-sum-exp")
    return weights


def bound_of_result(result: Tracked | Weights, linear: Any, empty: Any, dtype: str) -> ErrorBound:
    """Return the error bound of a result that is stored in the dtype, with what the reference itself may err."""
    evaluations = 2.0 if DTYPES[dtype].as_reference else 1.0
    overflow = f"a step of the formula exceeds the largest {dtype}" if result.overflows else ""
    bound = np.broadcast_to(result.bound, result.shape) * evaluations
    deviation = np.sqrt(np.broadcast_to(result.variance, result.shape) * evaluations)
    deviation = np.where(bound > 0, np.maximum(deviation, _SMALLEST_DEVIATION), deviation)
    return ErrorBound(result.value, bound, deviation, linear, empty, overflow)


@np.errstate(all="ignore")
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
    leaves = _leaves(model, tensors, options)
    output, _ = evaluate(**{**options, **leaves})
    found = gradients([(output, Tracked(model, upstream))], list(leaves.values()))
    return _bounds(model, leaves, found, dtype)


@np.errstate(all="ignore")
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
    leaves = _leaves(model, tensors, options)
    first = {name: Taped(leaf) for name, leaf in leaves.items()}
    output, _ = evaluate(**{**options, **first})
    found = gradients([(output, Taped(Tracked(model, upstream)))], list(first.values()))
    steps = [(one, Tracked(model, directions[name])) for name, one in zip(first, found) if one is not None]
    second = gradients(steps, list(leaves.values()))
    return _bounds(model, leaves, second, dtype)


@np.errstate(all="ignore")
def forward_bounds(
    evaluate: Evaluate,
    tensors: Mapping[str, Array],
    options: Mapping[str, Any],
    dtype: str,
    arithmetic: Arithmetic,
    directions: Mapping[str, Array],
) -> ErrorBound:
    r"""Return the error bound of the derivative of the output along directions, $J v$.

    $\langle v, J^\top u \rangle$ is linear in u, and its gradient by u is $J v$: a tape over a tape computes that by
    the operations of forward differentiation, with their roundings. It does not depend on u.
    """
    model = Model.of(arithmetic, dtype)
    first = {name: Taped(leaf) for name, leaf in _leaves(model, tensors, options).items()}
    output, _ = evaluate(**{**options, **first})
    upstream = Taped(Tracked(model, np.zeros(output.shape)))
    found = gradients([(output, upstream)], [first[name] for name in directions])
    steps = [(one, Tracked(model, directions[name])) for name, one in zip(directions, found) if one is not None]
    return _bounds(model, {"output": upstream}, gradients(steps, [upstream]), dtype)["output"]


def _leaves(model: Model, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> dict[str, Taped]:
    """Return a leaf for each array, by name; an array given twice is one leaf, whose gradients are summed."""
    floating = {name: x for name, x in options.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"}
    every = dict(tensors) | floating
    leaves = {id(x): Taped(Tracked(model, np.asarray(x, np.float64))) for x in every.values()}
    return {name: leaves[id(x)] for name, x in every.items()}


def _bounds(model: Model, leaves: Mapping[str, Taped], found: Sequence[Any], dtype: str) -> dict[str, ErrorBound]:
    """Return the error bounds of gradients; of one that nothing leads to, exactly 0."""
    bounds = {}
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        stored = Tracked(model, np.zeros(leaf.shape)) if gradient is None else gradient.as_output()
        with np.errstate(invalid="ignore"):
            stored.bound = np.nan_to_num(stored.bound, nan=np.inf, posinf=np.inf)
        bounds[name] = bound_of_result(stored, None, None, dtype)
    return bounds
