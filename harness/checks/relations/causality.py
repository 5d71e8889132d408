"""A causal row does not see the future, nor does its gradient."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check
from attention_harness.checks.form import numbers, to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import answer_to, bounds, output_of, tensors
from attention_harness.checks.relations.comparison import agree, worst
from attention_harness.checks.relations.hidden_keys import ignores_hidden_keys
from attention_harness.checks.relations.problem import Problem, letters
from attention_harness.checks.relations.sampling import changeable, conditional, conditional_single
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import Place, interval


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


@check("relation.causal_future", changeable, ignores_hidden_keys, has_future, sampled=conditional)
def causal_future(subject: Subject) -> Judgement:
    """A causal row does not see the future: other keys and values after its last visible key leave it as it is."""
    problem = Problem.of(subject.case)
    row, last = _present(subject.case)
    base = answer_to(subject, problem)
    later = problem.along(letters(subject.case)[1], functools.partial(_after, last=last), problem.keyed)
    output = output_of(subject, later)
    rows = np.arange(row + 1)
    one, two, bound = (problem.rows(x, rows) for x in (base.output, output, base.bound))
    return agree(one, two, 2 * bound, what=f"rows up to {row} before and after keys past {last} change")


def has_gradient(implementation: Declaration, case: Case) -> bool:
    """Return whether gradients are declared, of zero for a row that sees no key."""
    capabilities = implementation.capabilities
    return capabilities.gradients and capabilities.fully_masked_rows == "zero"


@check("relation.causal_gradient", changeable, has_gradient, has_future, sampled=conditional_single)
def causal_gradient(subject: Subject) -> Judgement:
    """A causal row does not see the future: its gradient by the keys and values after its last visible key is zero."""
    import torch

    problem = Problem.of(subject.case)
    row, last = _present(subject.case)
    output, _ = bounds(subject, problem)
    upstream = torch.zeros(
        output.value.shape, dtype=getattr(torch, subject.case.format.torch), device=subject.case.device
    )
    upstream.select(problem.mechanism.output.index(letters(subject.case)[0]), row).fill_(1)
    derivatives = subject.prepared_for(subject.case).gradients(tensors(problem), upstream, problem.keyed)
    numbers(derivatives.output, subject.case, output.value.shape, "output with gradients enabled")
    judged = []
    for name in problem.keyed:
        gradient = derivatives.by_name.get(name)
        if gradient is None:
            return Judgement.refuse(f"the output has no gradient by {name}, expected one")
        axis = problem.axes(name).index(problem.mechanism.scores[-1])
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
