"""What holds of a formula that goes along a sequence, and carries a state from position to position."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.relations.problem import Problem, agree, answer_to
from attention_harness.checks.relations.sampling import changeable, plain, simple
from attention_harness.checks.subject import Subject
from attention_harness.registry import mechanisms


@check(
    "relation.prefix",
    changeable,
    of_mechanism("relation.prefix"),
    lambda _, case: case.sizes["L"] > 1,
    sampled=simple,
)
def prefix(subject: Subject) -> Judgement:
    r"""The first positions alone get the same answers: $f(x_{\le n}) = f(x)_{\le n}$. Nothing later matters."""
    problem = Problem.of(subject.case)
    length = (subject.case.sizes["L"] + 1) // 2
    whole, alone = answer_to(subject, problem), answer_to(subject, problem.taken("L", range(length)))
    first = np.s_[..., :length, :]
    allowed = whole.bound[first] + alone.bound
    return agree(whole.output[first], alone.output, allowed, what="the first positions in the sequence and alone")


@check(
    "relation.unnormalised",
    changeable,
    of_mechanism("relation.unnormalised"),
    lambda _, case: set(case.options) <= set(mechanisms()[case.mechanism].choices),
    sampled=plain,
)
def unnormalised(subject: Subject) -> Judgement:
    r"""Without options it is causal attention that no softmax normalises.

    $$O_t = \sum_{s \le t} (q_t^\top k_s) v_s / \sqrt{D}$$
    """
    problem = Problem.of(subject.case)
    query, key, value = (problem.arrays[declared.name] for declared in problem.mechanism.inputs)
    group = query.shape[1] // max(key.shape[1], 1)
    key, value = (np.repeat(x, group, 1) for x in (key, value))
    products = np.tril(query @ key.swapaxes(-1, -2)) / np.sqrt(max(query.shape[-1], 1))
    answer = answer_to(subject, problem)
    return agree(answer.output, products @ value, answer.bound, what="the output and unnormalised attention")
