"""What a right answer is: the reference's value and its error bound, for a case or for other numbers in its place."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, blocked, error_bounds, rows_of
from attention_harness.cases import inputs
from attention_harness.checks.size import is_large
from attention_harness.model import time_account
from attention_harness.model.capabilities import Arithmetic, Policy
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS
from attention_harness.reference.core import visible_keys, words_of_rows
from attention_harness.registry import mechanisms

Arrays = Mapping[str, NDArray[Any]]
OTHER_WORDS = ("nan", "mean")
"""What a row that sees no key may get beside the contract's zero."""
Bounds = tuple[ErrorBound, ErrorBound | None]


class OutOfRange(ValueError):
    """A problem lies outside the range of its dtype, so that nothing can be judged there."""


def arrays_of(case: Case) -> dict[str, NDArray[Any]]:
    """Return the numbers of a case's tensors: float64, bool or int64."""
    return inputs.exact(inputs.tensors(case.on("cpu")))


def arguments(case: Case, arrays: Arrays) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arguments of a mechanism's formula for these numbers: its tensors, and its options."""
    tensors = {declared.name: arrays[declared.name] for declared in mechanisms()[case.mechanism].inputs}
    options = {name: array for name, array in arrays.items() if name not in tensors}
    return tensors, options | inputs.arguments(case)


def bounds_of(
    case: Case, arrays: Arrays, arithmetic: Arithmetic, fully_masked_rows: Policy, rounded: Collection[str] = ()
) -> Bounds:
    """Return the error bounds of output and weights for these numbers in the case's place.

    rounded: tensors that come in another dtype, and may be rounded to the case's first
    A large problem is computed over blocks of its queries, and has no error bound of its weights: `checks.size`.
    """
    mechanism = mechanisms()[case.mechanism]
    tensors, options = arguments(case, arrays)
    if mechanism.scores:
        options["fully_masked_rows"] = fully_masked_rows
    with time_account.spent(time_account.REFERENCE):
        if is_large(case):
            rows = rows_of(mechanism, case.sizes)
            return blocked(mechanism, tensors, options, case.dtype, arithmetic, rows), None
        return error_bounds(mechanism.evaluate, tensors, options, case.dtype, arithmetic, rounded=rounded)


def bound_of(case: Case, arithmetic: Arithmetic, fully_masked_rows: Policy) -> Bounds:
    """Return the error bounds of a case's output and weights, once for all implementations that declare the same."""
    return (_large if is_large(case) else _small)(case, arithmetic, fully_masked_rows)


def _bound_of(case: Case, arithmetic: Arithmetic, fully_masked_rows: Policy) -> Bounds:
    return bounds_of(case, arrays_of(case), arithmetic, fully_masked_rows)


_small = functools.lru_cache(maxsize=1024)(_bound_of)  # the default tier, and the second calls in it
_large = functools.lru_cache(maxsize=4)(_bound_of)  # each as large as some outputs


def axes_of(case: Case, name: str) -> tuple[str, ...]:
    """Return the axis letters of a tensor of a case, "1" where it is broadcast."""
    mechanism = mechanisms()[case.mechanism]
    if (axes := inputs.option_axes(case).get(name)) is not None:
        return axes
    return next((declared.axes for declared in mechanism.inputs if declared.name == name), ("1",))


def acts_in_training(case: Case) -> bool:
    """Return whether a case has an option that acts in training alone."""
    return any(OPTIONS[name].training for name in case.options if name in OPTIONS)


def visible(case: Case, arrays: Arrays) -> NDArray[np.bool_]:
    """Return which keys each query sees, in the shape of the scores."""
    shape = inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes)
    return visible_keys(shape, **inputs.option_values(case, arrays))


def fully_masked_rows(
    case: Case, arrays: Arrays | None = None, policy: Policy = "zero", words: tuple[str, ...] = ("zero",)
) -> NDArray[np.bool_]:
    """Return which rows of the output rest on a row of scores that sees no key and gets one of these words.

    In any head. arrays: other numbers in the place of the case's
    """
    mechanism = mechanisms()[case.mechanism]
    shape = inputs.shape_of(mechanism.output, case.sizes)[:-1]
    if not mechanism.scores:
        return np.zeros(shape, bool)
    arrays = arrays_of(case) if arrays is None else arrays
    seen, options = visible(case, arrays), inputs.option_values(case, arrays)
    masked = ~seen.any(-1) & np.isin(words_of_rows(policy, seen.shape, **options)[..., 0], words)
    return np.asarray(masked.any(1)) if masked.ndim > len(shape) else np.asarray(masked)


def spoilt_batches(case: Case, policy: Policy) -> NDArray[np.bool_]:
    """Return the batch elements with a row of NaN, which sees no key: NaN times zero is NaN, also in gradients."""
    rows = fully_masked_rows(case, policy=policy, words=("nan",))
    return np.asarray(rows.any(tuple(range(1, rows.ndim))))
