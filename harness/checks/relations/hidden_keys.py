"""What is hidden does not matter: keys that no query sees may be added and hold anything; no row sees its future."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.checks.declaration import check, quantises_nothing
from attention_harness.checks.expected import OTHER_WORDS, axes_of, fully_masked_rows
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.gradients import excused
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Answer, Problem, agree, answer_to, bounds, letters, tensors
from attention_harness.checks.relations.sampling import changeable, conditional, conditional_single
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import Place, hiding, interval

_ADDED = 3  # keys


def _shown(case: Case, more: int = 0, moved: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last key that the options without a tensor show the case's queries, with so many more keys.

    moved: places by which the case's keys come later, so that their numbers are those of the case
    """
    queries, keys = letters(case)
    rows = case.sizes[queries]
    place = Place(rows + (more if queries == keys else 0), case.sizes[keys] + more)
    first, last = (np.asarray(bound)[:rows] - moved for bound in interval(case.options, place))
    none = first > last
    return np.where(none, 0, first), np.where(none, -1, last)


def _place_of_added(case: Case) -> str:
    """Return where keys can be added that no query sees, and nothing else moves: "last", "first" or "".

    Where causality counts from the last key, added ones come first.
    """
    queries, letter = letters(case)
    keys = case.sizes[letter]
    ways = hiding(case.options).values()
    first, last = _shown(case, _ADDED)
    if all(map(np.array_equal, _shown(case), _within(first, last, keys))):
        return "last" if ways or not (last >= keys).any() else ""
    first, last = _shown(case, _ADDED, _ADDED)
    if queries != letter and all(map(np.array_equal, _shown(case), _within(first, last, keys))):
        return "first" if any(way.any_keys for way in ways) or not ((first < 0) & (first <= last)).any() else ""
    return ""


def _within(first: NDArray[np.int64], last: NDArray[np.int64], keys: int) -> tuple[Any, Any]:
    """Return the part of intervals that lies among the case's keys; (0, -1) if none does."""
    first, last = np.maximum(first, 0), np.minimum(last, keys - 1)
    return np.where(first > last, 0, first), np.where(first > last, -1, last)


def can_add_keys(implementation: Declaration, case: Case) -> bool:
    """Return whether the case has what hides a further key: an option's tensor, or causality before it."""
    _, keys = letters(case)
    return bool(keys) and case.sizes[keys] > 0 and bool(_place_of_added(case))


def with_more_keys(case: Case) -> Case:
    """Return the case with the added keys."""
    letter = letters(case)[1]
    return replace(case, sizes={**case.sizes, letter: case.sizes[letter] + _ADDED})


@check(
    "relation.added_keys",
    changeable,
    can_add_keys,
    sampled=conditional,
    other_cases=(with_more_keys,),
)
def added_keys(subject: Subject) -> Judgement:
    """Adding masked keys changes nothing: f(Q, [K; K'], [V; V']) = f(Q, K, V) where no query sees K'.

    The added ones are copies of the first keys. They come last, or first where causality counts from the last key. A
    row that sees no key gets what is declared for it: the mean is one of more values.
    """
    problem = Problem.of(subject.case)
    queries, letter = letters(subject.case)
    keys = subject.case.sizes[letter]
    copies = np.arange(_ADDED) % keys
    first = _place_of_added(subject.case) == "first"
    whole = problem.taken(letter, np.concatenate([copies, np.arange(keys)] if first else [np.arange(keys), copies]))
    added = np.arange(_ADDED) + (0 if first else keys)
    whole = whole.moved(_ADDED) if first else whole
    if not first or any(way.any_keys for way in hiding(subject.case.options).values()):  # else nobody sees them
        whole = whole.hidden([int(key) for key in added])
    base, more = answer_to(subject, problem), answer_to(subject, whole)
    arrays = more.output, more.bound, bounds(subject, whole)[0].value
    output, bound, right = (problem.rows(x, np.arange(subject.case.sizes[queries])) for x in arrays)
    for axis, name in enumerate(problem.mechanism.output):
        if name == letter and letter != queries:  # where the output is the weights
            rest = np.setdiff1d(np.arange(keys + _ADDED), added)
            output, bound, right = (np.take(x, rest, axis) for x in (output, bound, right))
    empty = fully_masked_rows(subject.case)[..., None]
    expected, allowed = np.where(empty, right, base.output), np.where(empty, bound, base.bound + bound)
    return agree(expected, output, allowed, what="the answers without and with hidden keys")


def can_hide_keys(implementation: Declaration, case: Case) -> bool:
    """Return whether a key can be hidden from every query and another one stays."""
    keys = letters(case)[1]
    return bool(keys) and bool(hiding(case.options)) and case.sizes[keys] > 2


@check("relation.masked_content", changeable, can_hide_keys, quantises_nothing, sampled=conditional)
def masked_content(subject: Subject) -> Judgement:
    """Masked content never leaks: what no query sees may be huge, and NaN or infinite if that is declared to be safe.

    Huge is such that no product of two of them overflows: 0 times it is 0, whatever the order of computing.
    """
    case = subject.case
    problem = Problem.of(case)
    queries, letter = letters(case)
    keys = case.sizes[letter]
    hidden = [0, keys - 1] if any(way.any_keys for way in hiding(case.options).values()) else [keys - 1]
    problem = problem.hidden(hidden)
    huge = 2.0 ** (int(np.log2(case.format.largest)) // 2 - 6)
    contents = [huge, -huge]
    if subject.implementation.capabilities.poison_safe:
        contents += [np.nan, np.inf, -np.inf]
    base = answer_to(subject, problem)
    rows = np.arange(case.sizes[queries])
    rows = np.setdiff1d(rows, hidden) if queries == letter else rows  # in self-attention they are queries too
    found = []
    for content in contents:
        other = problem.along(letter, functools.partial(_filled, keys=hidden, content=content), problem.keyed)
        what = f"the answers without and with {content:.3g} in hidden keys"
        found.append(_same_rows(subject, base, other, rows, what))
    return worst(found)


def _same_rows(subject: Subject, base: Answer, other: Problem, rows: NDArray[Any], what: str) -> Judgement:
    """Judge some rows of the answer to a problem whose visible part is that of another.

    So is its error bound, except of what is quantised inside: what is not seen may make the scale of what is.
    Rows that see no key, and are the mean of all values by the declared policy, show what is hidden.
    """
    policy = subject.implementation.capabilities.policy
    means = fully_masked_rows(other.case, other.arrays, policy, ("mean",))[..., None]
    output = to_array(subject.prepared_for(other.case).call(tensors(other)).output)
    own = base.bound if quantises_nothing(subject.implementation, other.case) else bounds(subject, other)[0].bound
    one, two, bound, mean = (other.rows(x, rows) for x in (base.output, output, base.bound + own, means))
    return agree(one, two, bound, ~mean, what)


def _filled(array: NDArray[Any], axis: int, _: str, *, keys: Sequence[int], content: float) -> NDArray[Any]:
    array = np.moveaxis(array.copy(), axis, 0)
    array[list(keys)] = content
    return np.moveaxis(array, 0, axis)


def _present(case: Case) -> tuple[int, int]:
    """Return a row and its last visible key, with a key after it: the middle one of those rows; (-1, -1) if none."""
    queries, keys = (case.sizes[axis] for axis in letters(case))
    last = np.asarray(interval(case.options, Place(queries, keys))[1])[:, 0]
    rows = np.flatnonzero((last >= 0) & (last <= keys - 2))
    row = int(rows[0] + rows[-1]) // 2 if len(rows) else -1
    return (row, int(last[row])) if len(rows) else (-1, -1)


def has_future(implementation: Declaration, case: Case) -> bool:
    """Return whether some row has a key in its future, by an option without a tensor."""
    return bool(letters(case)[1]) and _present(case) != (-1, -1)


@check("relation.causal_future", changeable, has_future, sampled=conditional)
def causal_future(subject: Subject) -> Judgement:
    """A causal row does not see the future: other keys and values after its last visible key leave it as it is."""
    problem = Problem.of(subject.case)
    row, last = _present(subject.case)
    later = problem.along(letters(subject.case)[1], functools.partial(_after, last=last), problem.keyed)
    what = f"rows up to {row} before and after keys past {last} change"
    return _same_rows(subject, answer_to(subject, problem), later, np.arange(row + 1), what)


@check(
    "relation.causal_gradient",
    changeable,
    lambda implementation, case: implementation.capabilities.gradients,
    has_future,
    sampled=conditional_single,
)
def causal_gradient(subject: Subject) -> Judgement:
    """A causal row does not see the future: its gradient by the keys and values after its last visible key is zero.

    Where it sees no key at all, and gets "nan" or "mean" by the declared policy, its upstream gradient is zero.
    """
    import torch

    problem, policy = Problem.of(subject.case), subject.implementation.capabilities.policy
    row, last = _present(subject.case)
    output, _ = bounds(subject, problem)
    upstream = torch.zeros(
        output.value.shape, dtype=getattr(torch, subject.case.format.torch), device=subject.case.device
    )
    upstream.select(problem.mechanism.output.index(letters(subject.case)[0]), row).fill_(1)
    upstream[torch.from_numpy(fully_masked_rows(subject.case, policy=policy, words=OTHER_WORDS))] = 0
    derivatives = subject.prepared_for(subject.case).gradients(tensors(problem), upstream, problem.keyed)
    numbers(derivatives.output, subject.case, output.value.shape, "output with gradients enabled")
    judged = []
    for name in problem.keyed:
        gradient = derivatives.by_name.get(name)
        if gradient is None:
            return Judgement.refuse(f"the output has no gradient by {name}, expected one")
        axis = axes_of(subject.case, name).index(problem.mechanism.scores[-1])
        gradient = excused(subject.case, policy, name, gradient, np.zeros(tuple(gradient.shape)))
        future = np.take(to_array(gradient), np.arange(last + 1, gradient.shape[axis]), axis)
        zero = np.zeros_like(future)
        judged.append(agree(future, zero, zero, what=f"row {row}'s gradient by {name} after {last} and zero"))
    return worst(judged)


def _after(array: NDArray[Any], axis: int, _: str, *, last: int) -> NDArray[Any]:
    """Return the array with other numbers after an index: doubled, negated, rolled; none stays 0."""
    array = np.moveaxis(array.copy(), axis, 0)
    other = np.roll(array[last + 1 :] * -2, 1, -1)
    array[last + 1 :] = np.where(other == 0, 1.0, other)
    return np.moveaxis(array, 0, axis)
