"""Parts of the keys, answered alone and merged, give the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Answer, Array, Problem, agree, answer_to, letters
from attention_harness.checks.relations.sampling import changeable, plain
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import hiding
from attention_harness.registry import mechanisms


def can_split(implementation: Declaration, case: Case) -> bool:
    """Return whether the keys fall into two parts, of which each is a problem with one weight for each pair.

    Not where several heads are joined behind the sum, nor where the values of a half's weight cannot be set.
    """
    queries, keys = letters(case)
    mechanism = mechanisms()[case.mechanism]
    if not keys or case.sizes[keys] < 2 or ("H" in mechanism.scores and "H" not in mechanism.output):
        return False
    if queries == keys:  # the halves are hidden from each other, which lengths cannot do
        any_keys = any(way.any_keys for way in hiding(case.options).values())
        return any_keys and implementation.capabilities.weights
    return mechanism.weighs_directly or mechanism.returns_weights or implementation.capabilities.weights


@check("relation.split_and_merged", changeable, can_split, sampled=plain)
def split_and_merged(subject: Subject) -> Judgement:
    r"""Splitting the keys and merging by log-sum-exp gives the whole: $O = \lambda_A O_A + \lambda_B O_B$ with
    $\lambda_A = e^{\operatorname{lse}_A - \operatorname{lse}} = \sum_{j \in A} P_j$.

    The halves are answered alone. Their weights come from the implementation itself, so that no oracle decides: from
    the weights that it returns, or as its output for values of 1 in the half and 0 outside.
    """
    problem = Problem.of(subject.case)
    keys = problem.score_shape[-1]
    whole = answer_to(subject, problem)
    total, allowed = np.zeros_like(whole.output), whole.bound.copy()
    for half in (np.arange(keys // 2), np.arange(keys // 2, keys)):
        part = answer_to(subject, _part(problem, half))
        weight, error = _weight(subject, problem, half, whole)
        output, bound = part.output, part.bound
        if problem.mechanism.returns_weights:  # the weights of the half, in their places
            output, bound = (_placed(x, half, keys) for x in (output, bound))
        seen: Any = (np.isin(np.arange(keys), half) & problem.visible).any(-1, keepdims=True)
        output, bound = np.where(seen, output, 0.0), np.where(seen, bound, 0.0)
        total = total + weight * output
        allowed = allowed + weight * bound + error * (np.abs(output) + bound)
    rows: Any = problem.visible.any(-1, keepdims=True)
    return agree(whole.output, total, allowed, rows, "the whole and its merged halves")


def _part(problem: Problem, half: NDArray[np.int64]) -> Problem:
    """Return the problem of some of the keys alone: cut out, or with the others hidden in self-attention."""
    queries, letter = letters(problem.case)
    if queries == letter:
        others = np.setdiff1d(np.arange(problem.score_shape[-1]), half)
        return problem.hidden([int(key) for key in others])
    return problem.taken(letter, half).moved(-int(half[0]))


def _weight(subject: Subject, problem: Problem, half: NDArray[np.int64], whole: Answer) -> tuple[Array, Array]:
    """Return the half's part of each row's weight, (..., Lq, 1), and the bound of its error."""
    if problem.mechanism.returns_weights:
        weights, bound = whole.output, whole.bound
    elif whole.weights is not None and whole.weights_bound is not None:
        weights, bound = whole.weights, whole.weights_bound
    else:
        inside = np.isin(np.arange(problem.score_shape[-1]), half).astype(np.float64)[:, None]
        value = np.broadcast_to(inside, problem.arrays["value"].shape).copy()
        answer = answer_to(subject, problem.changed(value=value))
        return answer.output[..., :1], answer.bound[..., :1]
    return weights[..., half].sum(-1, keepdims=True), bound[..., half].sum(-1, keepdims=True)


def _placed(array: Array, half: NDArray[np.int64], keys: int) -> Array:
    made = np.zeros((*array.shape[:-1], keys))
    made[..., half] = array
    return made
