"""What the order of keys, queries and heads, the neighbours in a batch and the sharing of heads must not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.checks.declaration import broken, check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Problem, agree, answer_to, letters, same_answer
from attention_harness.checks.relations.sampling import changeable, conditional_single, plain, plain_single
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case


def _order(length: int) -> NDArray[np.int64]:
    """Return a permutation that leaves nothing in its place: neighbours exchanged, the last three of an odd number
    rotated. It commutes with no rotation of four or more, so that what is merely shifted does not pass.
    """
    order = np.arange(length)
    pairs = length // 2 * 2
    order[:pairs] = order[:pairs].reshape(-1, 2)[:, ::-1].ravel()
    if length % 2 and length > 1:
        order[-3:] = [length - 2, length - 1, length - 3]
    return order


def _permuted(
    subject: Subject, problem: Problem, letter: str, order: NDArray[np.int64], permuted: Problem | None = None
) -> Judgement:
    """Compare the answer to a permuted problem with the permuted answer."""
    base, moved = answer_to(subject, problem), answer_to(subject, permuted or problem.taken(letter, order))
    output, bound = base.output, base.bound
    for axis, name in enumerate(problem.mechanism.output):
        if name == letter:
            output, bound = np.take(output, order, axis), np.take(bound, order, axis)
    return agree(moved.output, output, moved.bound + bound, what=f"the answers before and after permuting {letter}")


def has_keys(implementation: Declaration, case: Case) -> bool:
    """Return whether there are keys to permute."""
    letter = letters(case)[1]
    return bool(letter) and case.sizes[letter] > 1


@check("relation.permuted_keys", changeable, has_keys, sampled=plain)
def permuted_keys(subject: Subject) -> Judgement:
    r"""Permuting keys with their values changes nothing: f(Q, ΠK, ΠV) = f(Q, K, V).

    Masks and biases are permuted with their keys. Where the output is the weights, they are permuted too.
    """
    letter = letters(subject.case)[1]
    return _permuted(subject, Problem.of(subject.case), letter, _order(subject.case.sizes[letter]))


def has_queries(implementation: Declaration, case: Case) -> bool:
    """Return whether there are queries to permute; if they are the keys too, nothing may tell those apart."""
    queries, keys = letters(case)
    if not queries or case.sizes[queries] < 2:
        return False
    return queries != keys or "permuted_keys" not in broken(case)


@check("relation.permuted_queries", changeable, has_queries, sampled=plain)
def permuted_queries(subject: Subject) -> Judgement:
    r"""Permuting queries permutes rows: f(ΠQ, K, V) = Π f(Q, K, V).

    In self-attention the queries are the keys: permuting the sequence permutes the output.
    """
    letter = letters(subject.case)[0]
    return _permuted(subject, Problem.of(subject.case), letter, _order(subject.case.sizes[letter]))


@check("relation.permuted_heads", changeable, lambda _, case: case.sizes.get("H", 1) > 1, sampled=plain)
def permuted_heads(subject: Subject) -> Judgement:
    r"""Permuting heads with their projections changes nothing.

    $$\sum_h O_{\pi(h)} W_{o,\pi(h)}^\top = \sum_h O_h W_{o,h}^\top$$

    Where the heads are an axis of the tensors, permuting it permutes the output.
    """
    problem = Problem.of(subject.case)
    heads = subject.case.sizes["H"]
    order = _order(heads)
    permuted = problem.taken("H", order)
    if "E" in problem.case.sizes:  # a head's projections are a block of columns
        width = problem.case.sizes["E"] // heads
        permuted = permuted.taken("E", (order[:, None] * width + np.arange(width)).ravel())
    if "Hk" in problem.case.sizes:
        permuted = permuted.taken("Hk", order)
    return _permuted(subject, problem, "H", order, permuted)


@check("relation.batch_alone", changeable, lambda _, case: case.sizes["B"] > 1, sampled=plain_single)
def batch_alone(subject: Subject) -> Judgement:
    """Each batch element alone equals itself in the batch: f(Q, K, V)_b = f(Q_b, K_b, V_b)."""
    problem = Problem.of(subject.case)
    whole = answer_to(subject, problem)
    found = []
    for index in (0, subject.case.sizes["B"] - 1):
        alone = answer_to(subject, problem.taken("B", [index]))
        allowed = alone.bound + whole.bound[index : index + 1]
        found.append(agree(alone.output, whole.output[index : index + 1], allowed, what=f"batch {index} alone and not"))
    return worst(found)


def without_groups(case: Case) -> Case:
    """Return the case whose key heads are as many as its heads."""
    return replace(case, sizes={**case.sizes, "Hk": case.sizes["H"]})


@check(
    "relation.grouped_heads",
    changeable,
    lambda _, case: case.sizes.get("Hk", case.sizes.get("H")) != case.sizes.get("H"),
    sampled=conditional_single,
    other_cases=(without_groups,),
)
def grouped_heads(subject: Subject) -> Judgement:
    r"""Grouped heads equal repeated heads: key head h/g serves query head h, as if it stood there g times."""
    problem = Problem.of(subject.case)
    heads, key_heads = subject.case.sizes["H"], subject.case.sizes["Hk"]
    repeated = problem.taken("Hk", np.repeat(np.arange(key_heads), heads // key_heads))
    return same_answer(subject, problem, repeated, "grouped and repeated heads")
