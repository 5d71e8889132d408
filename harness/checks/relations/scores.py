"""What may be done to scores, or to what they are made of, without changing a weight."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.expected import OutOfRange
from attention_harness.checks.relations.problem import Array, Problem, on_grid, same_answer, tensors
from attention_harness.checks.relations.sampling import changeable, conditional, plain
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Stage
from attention_harness.registry import mechanisms


def _shifted_name(case: Case) -> str:
    """Return the tensor that is added to the scores, or is the scores; "" if there is none."""
    brought = [name for name, form in case.options.items() if name in OPTIONS and OPTIONS[name].brings(form)]
    added = [name for name in brought if OPTIONS[name].stage is Stage.BIAS]
    return mechanisms()[case.mechanism].algebra.shifted or next(iter(added), "")


def _biased(case: Case) -> bool:
    """Return whether a case is plain, or an option of it is what is shifted."""
    return plain(case) or (conditional(case) and _shifted_name(case) in case.options)


@check("relation.shifted_scores", changeable, lambda _, case: bool(_shifted_name(case)), sampled=_biased)
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
    array = problem.arrays[name]
    size = float(np.abs(np.where(np.isfinite(array), array, 0.0)).max(initial=0.0))
    for constant in constants:
        if 8 * size * case.format.roundoff > abs(constant):  # beside such numbers the sum would not be exact
            continue
        array = on_grid(case, problem.arrays[name], size + 2 * abs(constant))
        one_row = array.ndim < 2 or array.shape[-2] == 1
        by_row = (2.0 if one_row else 1 + np.arange(array.shape[-2])[:, None] % 2) * constant
        base, moved = problem.changed(**{name: array}), problem.changed(**{name: array + by_row})
        what = f"the answers before and after {constant:.3g} is added to the scores"
        found.append(same_answer(subject, base, moved, what))
    if not found:
        raise OutOfRange(f"no constant can be added exactly beside numbers of {size:.3g}")
    return worst(found)


@check("relation.cosine_scaling", changeable, of_mechanism("relation.cosine_scaling"), sampled=plain)
def cosine_scaling(subject: Subject) -> Judgement:
    r"""Cosine ignores positive scaling: f(αQ, βK, V) = f(Q, K, V), with other powers of two for each row."""
    problem = Problem.of(subject.case)
    query, key = problem.arrays["query"], problem.arrays["key"]
    scaled = problem.changed(query=query * _powers(query.shape[-2], 3), key=key * _powers(key.shape[-2], 5))
    return same_answer(subject, problem, scaled, "the answers before and after scaling")


def _powers(length: int, period: int) -> Array:
    return np.exp2(1.0 + np.arange(length)[:, None] % period)


@check("relation.gaussian_translation", changeable, of_mechanism("relation.gaussian_translation"), sampled=plain)
def gaussian_translation(subject: Subject) -> Judgement:
    """Gaussian ignores translation: f(Q + t, K + t, V) = f(Q, K, V); t and the numbers are such that no sum rounds."""
    problem = Problem.of(subject.case)
    query, key = problem.arrays["query"], problem.arrays["key"]
    size = float(max(np.abs(query).max(initial=0.0), np.abs(key).max(initial=0.0)))
    step = 2.0 ** np.ceil(np.log2(size)) if size > 0 else 1.0
    move = step * np.where(np.arange(query.shape[-1]) % 2, -1.0, 1.0)
    query, key = (on_grid(subject.case, array, size + step) for array in (query, key))
    base, moved = problem.changed(query=query, key=key), problem.changed(query=query + move, key=key + move)
    return same_answer(subject, base, moved, "the answers before and after translation")


@check("relation.other_basis", changeable, of_mechanism("relation.other_basis"), sampled=plain)
def other_basis(subject: Subject) -> Judgement:
    r"""Latents and heads have no basis of their own: f(Q B, C A, B^-1 W_k A^-T, W_v A^-T) = f(Q, C, W_k, W_v).

    A and B turn the order of the features around, and multiply them by powers of two. B is what moves between queries
    and projection where keys are never made, as in the absorbed form.
    """
    problem = Problem.of(subject.case)
    query, latent, of_keys, of_values = (problem.arrays[name] for name in ("query", "latent", "W_k", "W_v"))
    head, shared = (_powers(array.shape[-1], 3)[:, 0] for array in (query, latent))
    turned = problem.changed(
        query=(query * head)[..., ::-1],
        latent=(latent * shared)[..., ::-1],
        W_k=(of_keys / head[:, None] / shared)[..., ::-1, ::-1],
        W_v=(of_values / shared)[..., ::-1],
    )
    try:
        tensors(turned)
    except ValueError as inexact:  # below the normal numbers of a half format, a power of two is not exact
        raise OutOfRange(str(inexact)) from None
    return same_answer(subject, problem, turned, "the answers in two bases of latents and heads")
