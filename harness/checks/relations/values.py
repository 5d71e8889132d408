r"""What the output is, seen from the values: linear in them, zero without them, and within their hull."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree, on_grid, within, worst
from attention_harness.checks.relations.fetched import fetches, parts_of
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, plain
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

_LIFT = 2.0  # the values are lifted to twice their largest magnitude, so that none is negative
_OTHER = 16.0  # of the second summand: the two differ in size


def _linear_name(case: Case) -> str:
    """Return the tensor in which the output is linear but for its offset, or ""."""
    return mechanisms()[case.mechanism].algebra.linear


def is_linear(implementation: Declaration, case: Case) -> bool:
    """Return whether there are values to be linear in, and the offset is known."""
    return bool(_linear_name(case)) and fetches(implementation, case)


@check("relation.linear_in_values", changeable, is_linear, sampled=plain)
def linear_in_values(subject: Subject) -> Judgement:
    r"""Linear in V: f(V + V') + f(0) = f(V) + f(V'), where f(0) is 0 but for a residual or a combining layer.

    V' is 16 V, rolled by one key; both are rounded so that the sum is exact. Cross attention is linear in W_v.
    """
    problem = Problem.of(subject.case)
    name = _linear_name(subject.case)
    value = problem.arrays[name]
    value = on_grid(subject.case, value, (1 + _OTHER) * float(np.abs(value).max(initial=0.0)))
    other = _OTHER * np.roll(value, 1, -2)
    arrays = (value + other, 0 * value, value, other)
    both, nothing, one, two = (answer_to(subject, problem.changed(**{name: array})) for array in arrays)
    allowed = np.sum([answer.bound for answer in (both, nothing, one, two)], 0)
    return agree(
        both.output + nothing.output, one.output + two.output, allowed, what="f(V + V') + f(0) and f(V) + f(V')"
    )


@check("relation.zero_values", changeable, is_linear, sampled=plain)
def zero_values(subject: Subject) -> Judgement:
    """Zero values leave the residual: O = E for cross attention, W_c [Q; 0] + b_c for `location`, 0 elsewhere."""
    problem = Problem.of(subject.case)
    name = _linear_name(subject.case)
    problem = problem.changed(**{name: np.zeros_like(problem.arrays[name])})
    answer, parts = answer_to(subject, problem), parts_of(problem)
    what = "the output and what stands beside zero values"
    return agree(answer.output, parts.offset, answer.bound, parts.rows(), what)


@check("relation.hull", changeable, fetches, sampled=plain)
def hull(subject: Subject) -> Judgement:
    r"""Outputs stay in the hull of the visible values: $\min_j V_{jc} \le O_{ic} \le \max_j V_{jc}$, $j \in N(i)$.

    Judged for the values as they are, and lifted until none is negative: weights that sum to less than 1 then leave it.
    """
    problem = Problem.of(subject.case)
    problems = [problem]
    if "value" in problem.arrays:
        value = problem.arrays["value"]
        largest = float(np.abs(value).max(initial=0.0))
        lift = _LIFT * 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 0.0
        problems.append(problem.changed(value=on_grid(subject.case, value, lift + largest) + lift))
    return worst([_in_hull(subject, each) for each in problems])


def _in_hull(subject: Subject, problem: Problem) -> Judgement:
    answer, parts = answer_to(subject, problem), parts_of(problem)
    seen = parts.seen[..., None]
    whole = np.broadcast_to(parts.parts, np.broadcast_shapes(parts.parts.shape, seen.shape))
    low = parts.join(np.min(whole, -2, initial=np.inf, where=seen))
    high = parts.join(np.max(whole, -2, initial=-np.inf, where=seen))
    return within(low, high, answer.output, answer.bound, parts.rows(), "the output and the hull of the visible values")
