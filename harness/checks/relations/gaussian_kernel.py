"""The score depends on the difference of query and key alone."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree, on_grid
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, plain
from attention_harness.checks.subject import Subject


@check("relation.gaussian_translation", changeable, of_mechanism("relation.gaussian_translation"), sampled=plain)
def gaussian_translation(subject: Subject) -> Judgement:
    """Gaussian ignores translation: f(Q + t, K + t, V) = f(Q, K, V); t and the numbers are such that no sum rounds."""
    problem = Problem.of(subject.case)
    query, key = problem.arrays["query"], problem.arrays["key"]
    size = float(max(np.abs(query).max(initial=0.0), np.abs(key).max(initial=0.0)))
    step = 2.0 ** np.ceil(np.log2(size)) if size > 0 else 1.0
    move = step * np.where(np.arange(query.shape[-1]) % 2, -1.0, 1.0)
    query, key = (on_grid(subject.case, array, size + step) for array in (query, key))
    base = answer_to(subject, problem.changed(query=query, key=key))
    moved = answer_to(subject, problem.changed(query=query + move, key=key + move))
    return agree(base.output, moved.output, base.bound + moved.bound, what="the answers before and after translation")
