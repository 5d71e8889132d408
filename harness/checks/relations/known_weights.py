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
from attention_harness.checks.relations.fetched import fetched, fetches, has_keys
from attention_harness.checks.relations.problem import Problem, letters
from attention_harness.checks.relations.sampling import changeable, plain, precise
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case


def sees_one_key(implementation: Declaration, case: Case) -> bool:
    """Return whether a query sees a single key, or can be made to by the case's mask or bias."""
    keys = case.sizes[letters(case)[1]]
    return keys == 1 or (keys > 1 and bool({"mask", "bias"} & set(case.options)))


@check("relation.one_key", changeable, fetches, sees_one_key, sampled=precise)
def one_key(subject: Subject) -> Judgement:
    """One key returns its value: a query that sees a single key has weight 1 on it, whatever the score."""
    problem = Problem.of(subject.case)
    if problem.score_shape[-1] > 1:
        problem = _one_seen(problem)
    answer, parts = answer_to(subject, problem), fetched(problem)
    alone = parts.seen.sum(-1, keepdims=True) == 1
    alone = alone.all(1) if parts.joined else alone.reshape(parts.rows().shape)
    expected = parts.output(parts.seen.astype(np.float64))
    return agree(answer.output, expected, answer.bound, alone, "the output and the only key's value")


def _one_seen(problem: Problem) -> Problem:
    """Hide every key but one, another one for each query where the mask or bias has a row for each."""
    name = "mask" if "mask" in problem.arrays else "bias"
    array = problem.arrays[name]
    queries, keys = array.shape[-2:]
    chosen = np.arange(queries)[:, None] * 2 % keys == np.arange(keys)
    if name == "mask":
        return problem.changed(mask=array & chosen)
    return problem.changed(bias=np.where(chosen, array, -np.inf))


@check("relation.equal_keys", changeable, fetches, has_keys, sampled=plain)
def equal_keys(subject: Subject) -> Judgement:
    """Equal keys give the mean: with k_j = k for all j, O_i is the mean of the values that i sees."""
    problem = Problem.of(subject.case)
    letter = problem.mechanism.scores[-1]
    problem = problem.along(letter, _first_everywhere, [name for name in problem.keyed if name != "value"])
    if "bias" in problem.arrays:
        bias = problem.arrays["bias"]
        problem = problem.changed(bias=np.where(np.isneginf(bias), bias, 0.0))
    answer, parts = answer_to(subject, problem), fetched(problem)
    number = parts.seen.sum(-1, keepdims=True)
    expected = parts.output(parts.seen / np.maximum(number, 1))
    return agree(answer.output, expected, answer.bound, parts.rows(), "the output and the mean of the visible values")


def _first_everywhere(array: NDArray[Any], axis: int, _: str) -> NDArray[Any]:
    return np.repeat(np.take(array, [0], axis), array.shape[axis], axis)
