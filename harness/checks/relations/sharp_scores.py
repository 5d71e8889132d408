"""Scores that decide: the best key's value comes out."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree
from attention_harness.checks.relations.fetched import fetches, has_keys, parts_of
from attention_harness.checks.relations.problem import Problem, letters
from attention_harness.checks.relations.sampling import changeable, simple
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.reference.algebra import Decided, Patterns
from attention_harness.registry import mechanisms


def _decided(case: Case) -> Decided | None:
    """Return tensors under which the scores of a case decide, or None if no such are known or they do not fit."""
    mechanism = mechanisms()[case.mechanism]
    if mechanism.algebra.decided is None:
        return None
    shapes = {declared.name: inputs.shape_of(declared.axes, case.sizes) for declared in mechanism.inputs}
    queries, keys = (case.sizes[axis] for axis in letters(case))
    return mechanism.algebra.decided(Patterns(shapes, case.sizes, queries, keys), case.options)


def can_decide(implementation: Declaration, case: Case) -> bool:
    """Return whether scores can decide in single precision or better."""
    return case.format.single and _decided(case) is not None


@check("relation.sharp_scores", changeable, fetches, has_keys, can_decide, sampled=simple)
def sharp_scores(subject: Subject) -> Judgement:
    r"""Sharp scores fetch the best key's value: $O_i \to V_{\pi(i)}$ as $S_{i\pi(i)} - S_{ij} \to \infty$.

    Keys are sign patterns that spell their number in binary, a query is the pattern of the key that it shall fetch: by
    inner product or distance that key is best by a gap that follows from the construction, so that no reference has to
    say which it is. What the other keys keep, $(n - 1) e^{-\text{gap}}$ of the values' range, is allowed.
    """
    decided = _decided(subject.case)
    assert decided is not None
    problem = Problem.of(subject.case).changed(**decided.arrays)
    keys = problem.score_shape[-1]
    answer, parts = answer_to(subject, problem), parts_of(problem)
    expected = parts.output(decided.best[:, None] == np.arange(keys))
    spread = parts.join(np.ptp(parts.parts, -2)) - parts.offset
    left = (keys - 1) * np.exp(-decided.gap) * spread
    return agree(answer.output, expected, answer.bound + left, what="the output and the best key's value")
