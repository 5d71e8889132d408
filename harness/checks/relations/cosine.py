"""The score is a cosine: lengths do not matter."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.relations.answer import Array, answer_to
from attention_harness.checks.relations.comparison import agree
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, plain
from attention_harness.checks.subject import Subject


@check("relation.cosine_scaling", changeable, of_mechanism("relation.cosine_scaling"), sampled=plain)
def cosine_scaling(subject: Subject) -> Judgement:
    r"""Cosine ignores positive scaling: f(αQ, βK, V) = f(Q, K, V), with other powers of two for each row."""
    problem = Problem.of(subject.case)
    query, key = problem.arrays["query"], problem.arrays["key"]
    scaled = problem.changed(query=query * _powers(query.shape[-2], 3), key=key * _powers(key.shape[-2], 5))
    base, other = answer_to(subject, problem), answer_to(subject, scaled)
    return agree(base.output, other.output, base.bound + other.bound, what="the answers before and after scaling")


def _powers(length: int, period: int) -> Array:
    return np.exp2(1.0 + np.arange(length)[:, None] % period)
