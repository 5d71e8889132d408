"""Decoding token by token, each time with the keys and values of all that came before, gives what the whole gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.cases.parts import has_parts
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Problem, agree, answer_to, letters
from attention_harness.checks.relations.sampling import changeable, conditional_single
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import Place, interval

_TOKENS = 4
"""How many of the queries are asked alone: the first that sees a key, the last, and some between."""


def _shown(case: Case) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last key that the options without a tensor show each query."""
    queries, keys = (case.sizes[axis] for axis in letters(case))
    first, last = interval(case.options, Place(queries, keys))
    return first[:, 0], last[:, 0]


def _tokens(case: Case) -> list[int]:
    """Return the queries that are asked alone."""
    seeing = np.flatnonzero(_shown(case)[1] >= 0)
    if not len(seeing):
        return []
    chosen = np.linspace(0, len(seeing) - 1, _TOKENS).astype(int).tolist()
    return [int(seeing[one]) for one in dict.fromkeys(chosen)]


def _alone(case: Case, query: int) -> Case:
    """Return the case of one query and the keys up to its last one."""
    axes = letters(case)
    return replace(case, sizes={**case.sizes, axes[0]: 1, axes[1]: int(_shown(case)[1][query]) + 1})


def last_token(case: Case) -> Case:
    """Return the case of the last query alone."""
    return _alone(case, case.sizes[letters(case)[0]] - 1)


def can_decode(implementation: Declaration, case: Case) -> bool:
    """Return whether earlier keys come apart, and each query alone sees in its keys what it sees in the whole."""
    queries, keys = letters(case)
    if not has_parts(case) or queries == keys or not (tokens := _tokens(case)):
        return False
    shown = np.stack(_shown(case), -1)
    return all(np.array_equal(np.stack(_shown(_alone(case, one)), -1)[0], shown[one]) for one in tokens)


@check("relation.decoded", changeable, can_decode, sampled=conditional_single, other_cases=(last_token,))
def decoded(subject: Subject) -> Judgement:
    """Decoding token by token equals the whole: each query alone, with the keys up to its last one, gives its row.

    The option says which of these keys come as earlier ones.
    """
    problem = Problem.of(subject.case)
    axes, last = letters(subject.case), _shown(subject.case)[1]
    whole, judged = answer_to(subject, problem), [Judgement(0.0)]
    for query in _tokens(subject.case):
        token = problem.taken(axes[0], [query]).taken(axes[1], np.arange(last[query] + 1)).moved(0)
        answer = answer_to(subject, token)
        row, bound = (problem.rows(x, [query]) for x in (whole.output, whole.bound))
        judged.append(agree(answer.output, row, answer.bound + bound, what=f"query {query} alone and in the whole"))
    return worst(judged)
