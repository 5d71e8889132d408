"""Position encodings meet in a product that depends on their distance alone."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import Array, answer_to
from attention_harness.checks.relations.comparison import agree, worst
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, simple
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case


def has_positions(implementation: Declaration, case: Case) -> bool:
    """Return whether there are positions, of some width."""
    return min(case.sizes["B"], case.sizes["L"]) > 0 and case.sizes["E"] > 1


@check(
    "relation.position_distance", changeable, of_mechanism("relation.position_distance"), has_positions, sampled=simple
)
def position_distance(subject: Subject) -> Judgement:
    r"""Position encodings' inner products depend on the distance alone: $P_i P_j^\top = \sum_m \cos((i - j) \omega_m)$.

    Each pair of columns, a sine and a cosine of one frequency, is a point on the unit circle; a last column without
    partner is left out. The encodings are the answer to a sequence of zeros.
    """
    problem = Problem.of(subject.case)
    problem = problem.changed(sequence=0 * problem.arrays["sequence"])
    answer = answer_to(subject, problem)
    paired = answer.output.shape[-1] // 2 * 2
    table, bound = answer.output[0, :, :paired], answer.bound[0, :, :paired]
    inner = table @ table.T
    error = np.abs(table) @ bound.T
    error = error + error.T + bound @ bound.T + paired * 2.0**-53 * (np.abs(table) @ np.abs(table).T)
    judged = [_alike(answer.output, answer.bound)]
    for distance in range(len(table)):
        products, errors = np.diagonal(inner, distance), np.diagonal(error, distance)
        judged.append(
            agree(products, np.full_like(products, products[0]), errors + errors[0], what=f"products {distance} apart")
        )
    return worst(judged)


def _alike(output: Array, bound: Array) -> Judgement:
    """Judge that every batch element has the same encoding."""
    return agree(
        output, np.broadcast_to(output[:1], output.shape), bound + bound[:1], what="encodings of two sequences"
    )
