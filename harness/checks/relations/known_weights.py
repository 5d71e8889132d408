"""Problems whose weights are known whatever the score: a single key, and keys that are all equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree
from attention_harness.checks.relations.fetched import fetches, has_keys, parts_of
from attention_harness.checks.relations.problem import Problem, letters
from attention_harness.checks.relations.sampling import changeable, plain, precise
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Stage, hiding


def sees_one_key(implementation: Declaration, case: Case) -> bool:
    """Return whether a query sees a single key, or can be made to by an option's tensor."""
    keys = case.sizes[letters(case)[1]]
    return keys == 1 or (keys > 1 and any(way.any_keys for way in hiding(case.options).values()))


@check("relation.one_key", changeable, fetches, sees_one_key, sampled=precise)
def one_key(subject: Subject) -> Judgement:
    """One key returns its value: a query that sees a single key has weight 1 on it, whatever the score."""
    problem = Problem.of(subject.case)
    if problem.score_shape[-1] > 1:
        problem = _one_seen(problem)
    answer, parts = answer_to(subject, problem), parts_of(problem)
    alone = parts.seen.sum(-1, keepdims=True) == 1
    alone = alone.all(1) if parts.joined else alone.reshape(parts.rows().shape)
    expected = parts.output(parts.seen.astype(np.float64))
    return agree(answer.output, expected, answer.bound, alone, "the output and the only key's value")


def _one_seen(problem: Problem) -> Problem:
    """Hide every key but one, another one for each query where an option's tensor has a row for each."""
    name, way = next(iter(problem.hiding.items()))
    queries, keys = problem.arrays[name].shape[-2:]
    hidden = np.arange(queries)[:, None] * 2 % keys != np.arange(keys)
    return problem.changed(**{name: way.hide(problem.arrays[name], hidden)})


@check("relation.equal_keys", changeable, fetches, has_keys, sampled=plain)
def equal_keys(subject: Subject) -> Judgement:
    """Equal keys give the mean: with k_j = k for all j, O_i is the mean of the values that i sees."""
    problem = Problem.of(subject.case)
    letter = problem.mechanism.scores[-1]
    problem = problem.along(letter, _first_everywhere, [name for name in problem.keyed if name != "value"])
    for name in problem.arrays:
        if name in OPTIONS and OPTIONS[name].stage is Stage.BIAS:  # what it adds is the same, what it hides stays
            array = problem.arrays[name]
            problem = problem.changed(**{name: np.where(np.isneginf(array), array, 0.0)})
    answer, parts = answer_to(subject, problem), parts_of(problem)
    number = parts.seen.sum(-1, keepdims=True)
    expected = parts.output(parts.seen / np.maximum(number, 1))
    return agree(answer.output, expected, answer.bound, parts.rows(), "the output and the mean of the visible values")


def _first_everywhere(array: NDArray[Any], axis: int, _: str) -> NDArray[Any]:
    return np.repeat(np.take(array, [0], axis), array.shape[axis], axis)
