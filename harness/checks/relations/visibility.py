"""What a query sees, and nothing else, decides: hidden keys, the future, what all scores share, parts of the keys."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.relations.problem import (
    Answer,
    Array,
    Problem,
    agree,
    ask,
    bounds,
    callable_for,
    on_grid,
    tensors,
    worst,
)
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.registry import Implementation, mechanisms

_ADDED = 3  # keys


# --- hiding keys with what the case has for that


def _hidden(problem: Problem, keys: Sequence[int]) -> Problem:
    """Return the problem with these keys hidden from every query: by mask, by bias, or by lengths if they come last."""
    given = problem.arrays
    if "mask" in given:
        return problem.changed(mask=_at(given["mask"], keys, False))
    if "bias" in given:
        return problem.changed(bias=_at(given["bias"], keys, -np.inf))
    if "valid_lens" in given:
        return problem.changed(valid_lens=np.minimum(given["valid_lens"], min(keys)))
    return problem  # causality hides them: `can_add_keys`


def _at(array: NDArray[Any], keys: Sequence[int], put: Any) -> NDArray[Any]:
    array = array.copy()
    array[..., list(keys)] = put
    return array


def _hides(case: Case) -> bool:
    return bool({"mask", "bias", "valid_lens"} & set(case.options))


def _letters(case: Case) -> tuple[str, str]:
    """Return the axes of queries and keys."""
    scores = mechanisms()[case.mechanism].scores
    return (scores[-2], scores[-1]) if scores else ("", "")


def _rows(problem: Problem, array: NDArray[Any], rows: Any) -> NDArray[Any]:
    """Return these queries' rows of an output."""
    return np.take(array, rows, problem.mechanism.output.index(problem.mechanism.scores[-2]))


def added_keys(subject: Subject) -> Judgement:
    """Adding masked keys changes nothing: f(Q, [K; K'], [V; V']) = f(Q, K, V) where no query sees K'.

    The added ones are copies of the first keys. They come last, or first where causality counts from the last key.
    """
    own = Problem.of(subject.case)
    queries, letter = _letters(subject.case)
    keys = subject.case.sizes[letter]
    copies = np.arange(_ADDED) % keys
    first = _comes_first(subject.case)
    whole = own.taken(letter, np.concatenate([copies, np.arange(keys)] if first else [np.arange(keys), copies]))
    added = np.arange(_ADDED) + (0 if first else keys)
    if first and "valid_lens" in own.arrays:
        whole = whole.changed(valid_lens=own.arrays["valid_lens"] + _ADDED)
    whole = _hidden(whole, [int(key) for key in added])
    base, more = ask(subject, own), ask(subject, whole)
    output, bound = (_rows(own, x, np.arange(subject.case.sizes[queries])) for x in (more.output, more.bound))
    for axis, name in enumerate(own.mechanism.output):
        if name == letter and letter != queries:  # where the output is the weights
            kept = np.setdiff1d(np.arange(keys + _ADDED), added)
            output, bound = np.take(output, kept, axis), np.take(bound, kept, axis)
    return agree(base.output, output, base.bound + bound, what="the answers without and with hidden keys")


def _comes_first(case: Case) -> bool:
    queries, keys = _letters(case)
    return case.options.get("causal") == "bottom_right" and queries != keys


def _averages(implementation: Implementation) -> bool:
    """Whether a row that sees no key is declared to be the mean of all values: then hidden ones do show."""
    return implementation.capabilities.fully_masked_rows == "mean"


def can_add_keys(implementation: Implementation, case: Case) -> bool:
    """Whether the case has what hides a further key: a mask, a bias, lengths, or causality before it."""
    if _averages(implementation):
        return False
    queries, keys = _letters(case)
    if not keys or case.sizes[keys] < 1:
        return False
    if _comes_first(case):
        return bool({"mask", "bias"} & set(case.options))
    causal = "causal" in case.options and (queries == keys or case.sizes[keys] >= case.sizes[queries])
    return _hides(case) or causal


def with_more_keys(case: Case) -> Case:
    """Return the case with the added keys."""
    letter = _letters(case)[1]
    return replace(case, sizes={**case.sizes, letter: case.sizes[letter] + _ADDED})


def masked_content(subject: Subject) -> Judgement:
    """Masked content never leaks: what no query sees may be huge, and NaN or infinite if that is declared to be safe.

    Huge is such that no product of two of them overflows: 0 times it is 0, whatever the order of computing.
    """
    case = subject.case
    own = Problem.of(case)
    queries, letter = _letters(case)
    keys = case.sizes[letter]
    hidden = [keys - 1] if "mask" not in own.arrays and "bias" not in own.arrays else [0, keys - 1]
    own = _hidden(own, hidden)
    huge = 2.0 ** (int(np.log2(case.format.largest)) // 2 - 6)
    contents = [huge, -huge]
    if subject.implementation.capabilities.poison_safe:
        contents += [np.nan, np.inf, -np.inf]
    base = ask(subject, own)
    rows = np.arange(case.sizes[queries])
    rows = np.setdiff1d(rows, hidden) if queries == letter else rows  # in self-attention they are queries too
    found = []
    for content in contents:
        other = own.along(letter, functools.partial(_filled, keys=hidden, content=content), _keyed(own))
        answer = _ask_with_bounds_of(subject, other, base)
        one, two, bound = (_rows(own, x, rows) for x in (base.output, answer.output, base.bound))
        found.append(agree(one, two, 2 * bound, what=f"the answers without and with {content:.3g} in hidden keys"))
    return worst(found)


def _keyed(problem: Problem) -> list[str]:
    """Return the mechanism's tensors along the keys."""
    letter = problem.mechanism.scores[-1]
    return [declared.name for declared in problem.mechanism.inputs if letter in declared.axes]


def _filled(array: NDArray[Any], axis: int, _: str, *, keys: Sequence[int], content: float) -> NDArray[Any]:
    array = np.moveaxis(array.copy(), axis, 0)
    array[list(keys)] = content
    return np.moveaxis(array, 0, axis)


def _ask_with_bounds_of(subject: Subject, problem: Problem, base: Answer) -> Answer:
    """Return the answer to a problem whose visible part, and so whose bound, is another one's."""
    import torch

    with torch.no_grad():
        result = callable_for(subject, problem.case)(**tensors(problem))
    output = result[0] if isinstance(result, tuple) else result
    return replace(base, output=output.double().cpu().numpy())


def can_hide_keys(implementation: Implementation, case: Case) -> bool:
    """Whether a key can be hidden from every query and another one stays."""
    keys = _letters(case)[1]
    return not _averages(implementation) and bool(keys) and _hides(case) and case.sizes[keys] > 2


# --- what all scores of a row share


def shifted_scores(subject: Subject) -> Judgement:
    r"""A constant added to a row's scores changes nothing: softmax(S_i + c_i) = softmax(S_i).

    It is added through the bias, the scores themselves, or the bias of the scoring layer; all are rounded so that the
    sum is exact. In float64 also -2^21, which puts every score below the finite fills in use (-1e4, -1e6).
    """
    case = subject.case
    own = Problem.of(case)
    name = _shifted_name(case)
    constants = [2.0 ** (-np.log2(case.format.roundoff) // 4) * sign for sign in (1, -1)]
    constants += [-(2.0**21)] if case.format.as_reference else []
    found = []
    for constant in constants:
        array = own.arrays[name]
        size = float(np.abs(np.where(np.isfinite(array), array, 0.0)).max(initial=0.0))
        array = on_grid(case, array, size + 2 * abs(constant))
        by_row = (
            2.0 if name == "b" or array.shape[-2] == 1 else 1 + np.arange(array.shape[-2])[:, None] % 2
        ) * constant
        base, moved = ask(subject, own.changed(**{name: array})), ask(subject, own.changed(**{name: array + by_row}))
        what = f"the answers before and after {constant:.3g} is added to the scores"
        found.append(agree(base.output, moved.output, base.bound + moved.bound, what=what))
    return worst(found)


def _shifted_name(case: Case) -> str:
    known = mechanisms()[case.mechanism]
    names = [declared.name for declared in known.inputs]
    if "scores" in names:
        return "scores"
    if "b" in names and known.scores and "W_c" in names:
        return "b"
    return "bias" if "bias" in case.options else ""


def can_shift_scores(case: Case) -> bool:
    """Whether something is added to the scores, or they are the input."""
    return bool(_shifted_name(case))


# --- parts of the keys


def split_and_merged(subject: Subject) -> Judgement:
    r"""Splitting the keys and merging by log-sum-exp gives the whole: $O = \lambda_A O_A + \lambda_B O_B$ with
    $\lambda_A = e^{\operatorname{lse}_A - \operatorname{lse}} = \sum_{j \in A} P_j$.

    The halves are asked alone. The shares come from the implementation itself, so that no oracle decides: from its
    weights, or as its output for values of 1 in the half and 0 outside.
    """
    own = Problem.of(subject.case)
    keys = own.score_shape[-1]
    whole = ask(subject, own)
    total, allowed = np.zeros_like(whole.output), whole.bound.copy()
    for half in (np.arange(keys // 2), np.arange(keys // 2, keys)):
        part = ask(subject, _part(own, half))
        error_ratio, error = _share(subject, own, half, whole)
        output, bound = part.output, part.bound
        if "scores" in own.arrays:  # the weights of the half, in their places
            output, bound = (_placed(x, half, keys) for x in (output, bound))
        seen: Any = (np.isin(np.arange(keys), half) & own.visible).any(-1, keepdims=True)
        output, bound = np.where(seen, output, 0.0), np.where(seen, bound, 0.0)
        total = total + error_ratio * output
        allowed = allowed + error_ratio * bound + error * (np.abs(output) + bound)
    rows: Any = own.visible.any(-1, keepdims=True)
    return agree(whole.output, total, allowed, rows, "the whole and its merged halves")


def _part(problem: Problem, half: NDArray[np.int64]) -> Problem:
    """Return the problem of some of the keys alone: cut out, or with the others hidden in self-attention."""
    queries, letter = _letters(problem.case)
    if queries == letter:
        others = np.setdiff1d(np.arange(problem.score_shape[-1]), half)
        return _hidden(problem, [int(key) for key in others])
    cut = problem.taken(letter, half)
    if "valid_lens" in problem.arrays:
        cut = cut.changed(valid_lens=np.clip(problem.arrays["valid_lens"] - half[0], 0, len(half)))
    return cut


def _share(subject: Subject, problem: Problem, half: NDArray[np.int64], whole: Answer) -> tuple[Array, Array]:
    """Return the half's share of each row's weight, (..., Lq, 1), and the bound of its error."""
    if "scores" in problem.arrays:
        weights, bound = whole.output, whole.bound
    elif whole.weights is not None and whole.weights_bound is not None:
        weights, bound = whole.weights, whole.weights_bound
    else:
        inside = np.isin(np.arange(problem.score_shape[-1]), half).astype(np.float64)[:, None]
        value = np.broadcast_to(inside, problem.arrays["value"].shape).copy()
        told = ask(subject, problem.changed(value=value))
        return told.output[..., :1], told.bound[..., :1]
    return weights[..., half].sum(-1, keepdims=True), bound[..., half].sum(-1, keepdims=True)


def _placed(array: Array, half: NDArray[np.int64], keys: int) -> Array:
    made = np.zeros((*array.shape[:-1], keys))
    made[..., half] = array
    return made


def can_split(implementation: Implementation, case: Case) -> bool:
    """Whether the keys fall into two parts, of which each is a problem of its own, with one weight for each pair.

    Not where several heads are joined behind the sum, nor where the values of a share cannot be asked for.
    """
    queries, keys = _letters(case)
    known = mechanisms()[case.mechanism]
    if not keys or case.sizes[keys] < 2 or "dropout" in case.options:
        return False
    if "H" in known.scores and "H" not in known.output:
        return False
    if queries == keys:
        return bool({"mask", "bias"} & set(case.options)) and implementation.capabilities.weights
    names = [declared.name for declared in known.inputs]
    plain = "value" in names and not {"W_v", "W_c"} & set(names)
    return "causal" not in case.options and (plain or "scores" in names or implementation.capabilities.weights)


# --- the future


def causal_future(subject: Subject) -> Judgement:
    """A causal row does not see the future: other keys and values after its last visible key leave it as it is."""
    own = Problem.of(subject.case)
    row, last = _present(subject.case)
    letter = _letters(subject.case)[1]
    base = ask(subject, own)
    later = own.along(letter, functools.partial(_after, last=last), _keyed(own))
    answer = _ask_with_bounds_of(subject, later, base)
    rows = np.arange(row + 1)
    one, two, bound = (_rows(own, x, rows) for x in (base.output, answer.output, base.bound))
    return agree(one, two, 2 * bound, what=f"rows up to {row} before and after keys past {last} change")


def causal_gradient(subject: Subject) -> Judgement:
    """A causal row does not see the future: its gradient by the keys and values after its last visible key is zero."""
    import torch

    own = Problem.of(subject.case)
    row, last = _present(subject.case)
    queries = _letters(subject.case)[0]
    bounds(subject, own)
    given = tensors(own)
    for tensor in given.values():
        if tensor.is_floating_point():
            tensor.requires_grad_(True)
    result = callable_for(subject, subject.case)(**given)
    output = result[0] if isinstance(result, tuple) else result
    axis = own.mechanism.output.index(queries)
    wanted = {name: given[name] for name in _keyed(own)}
    with time_account.spent(time_account.IMPLEMENTATION):
        found = torch.autograd.grad(output.narrow(axis, row, 1).sum(), list(wanted.values()), allow_unused=True)
    judged = []
    for name, gradient in zip(wanted, found, strict=True):
        if gradient is None:
            return Judgement.refuse(f"the output has no gradient by {name}, expected one")
        numbers = gradient.detach().double().cpu().numpy()
        future = np.take(numbers, np.arange(last + 1, numbers.shape[_axis(own, name)]), _axis(own, name))
        zero = np.zeros_like(future)
        judged.append(agree(future, zero, zero, what=f"row {row}'s gradient by {name} after {last} and zero"))
    return worst(judged)


def _axis(problem: Problem, name: str) -> int:
    return problem.axes(name).index(problem.mechanism.scores[-1])


def _after(array: NDArray[Any], axis: int, _: str, *, last: int) -> NDArray[Any]:
    """Return the array with other numbers after an index: doubled, negated, rolled; none stays 0."""
    array = np.moveaxis(array.copy(), axis, 0)
    other = np.roll(array[last + 1 :] * -2, 1, -1)
    array[last + 1 :] = np.where(other == 0, 1.0, other)
    return np.moveaxis(array, 0, axis)


def _present(case: Case) -> tuple[int, int]:
    """Return a row and its last visible key, with a key after it: the middle one of those rows; (-1, -1) if none."""
    queries, keys = (case.sizes[axis] for axis in _letters(case))
    offset = keys - queries if case.options["causal"] == "bottom_right" else 0
    least, most = max(0, -offset), min(queries - 1, keys - 2 - offset)
    row = (least + most) // 2
    return (row, row + offset) if least <= most else (-1, -1)


def has_future(implementation: Implementation, case: Case) -> bool:
    """Whether some row has a key in its future."""
    return not _averages(implementation) and "causal" in case.options and _present(case) != (-1, -1)


def has_future_gradient(implementation: Implementation, case: Case) -> bool:
    """Whether some row has a key in its future, and gradients are declared, of zero for a row that sees no key."""
    zero = implementation.capabilities.fully_masked_rows == "zero"
    return implementation.capabilities.gradients and zero and has_future(implementation, case)
