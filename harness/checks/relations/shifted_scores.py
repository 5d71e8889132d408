"""What all scores of a row share cancels."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree, on_grid, worst
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, conditional, plain
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Stage
from attention_harness.registry import mechanisms


def _shifted_name(case: Case) -> str:
    """Return the tensor that is added to the scores, or is the scores; "" if there is none."""
    added = [name for name in case.options if name in OPTIONS and OPTIONS[name].stage is Stage.BIAS]
    return mechanisms()[case.mechanism].algebra.shifted or next(iter(added), "")


def can_shift_scores(implementation: Declaration, case: Case) -> bool:
    """Return whether something is added to the scores, or they are the input."""
    return bool(_shifted_name(case))


def _biased(case: Case) -> bool:
    """Return whether a case is plain, or an option of it is what is shifted."""
    return plain(case) or (conditional(case) and _shifted_name(case) in case.options)


@check("relation.shifted_scores", changeable, can_shift_scores, sampled=_biased)
def shifted_scores(subject: Subject) -> Judgement:
    r"""A constant added to a row's scores changes nothing: softmax(S_i + c_i) = softmax(S_i).

    It is added through the bias, the scores themselves, or the bias of the scoring layer; all are rounded so that the
    sum is exact. In float64 also -2^21, which puts every score below the finite fills in use (-1e4, -1e6).
    """
    case = subject.case
    problem = Problem.of(case)
    name = _shifted_name(case)
    constants = [2.0 ** (-np.log2(case.format.roundoff) // 4) * sign for sign in (1, -1)]
    constants += [-(2.0**21)] if case.format.as_reference else []
    found = []
    for constant in constants:
        array = problem.arrays[name]
        size = float(np.abs(np.where(np.isfinite(array), array, 0.0)).max(initial=0.0))
        array = on_grid(case, array, size + 2 * abs(constant))
        one_row = array.ndim < 2 or array.shape[-2] == 1
        by_row = (2.0 if one_row else 1 + np.arange(array.shape[-2])[:, None] % 2) * constant
        base = answer_to(subject, problem.changed(**{name: array}))
        moved = answer_to(subject, problem.changed(**{name: array + by_row}))
        what = f"the answers before and after {constant:.3g} is added to the scores"
        found.append(agree(base.output, moved.output, base.bound + moved.bound, what=what))
    return worst(found)
