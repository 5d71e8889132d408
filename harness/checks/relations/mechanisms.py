"""Mechanisms that are another one in a special case, and what holds of position encodings alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.relations.problem import Problem, agree, answer_to
from attention_harness.checks.relations.sampling import changeable, plain_single, simple
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.reference.differential_attention import LAMBDA_INIT


def plain_case(case: Case) -> Case:
    """Return the scaled dot product that multi-head attention with one head and identity projections is."""
    width = case.sizes["Eq"]
    sizes = {axis: case.sizes[axis] for axis in ("B", "Lq", "Lk")} | {"H": 1, "Hk": 1, "D": width, "Dv": width}
    return replace(case, mechanism="scaled_dot_product", sizes=sizes)


def one_head_case(case: Case) -> Case:
    """Return the case with one head and all widths equal."""
    width = case.sizes["Eq"]
    return replace(case, sizes={**case.sizes, "H": 1} | dict.fromkeys(("E", "Eq", "Ek", "Ev", "O"), width))


@check(
    "relation.one_head",
    changeable,
    of_mechanism("relation.one_head"),
    lambda _, case: "head" not in case.options.values(),
    sampled=plain_single,
    other_cases=(plain_case, one_head_case),
)
def one_head(subject: Subject) -> Judgement:
    """Multi-head with one head and identity projections is the plain mechanism, scaled dot product."""
    plain = Problem.of(plain_case(subject.case))
    width = plain.case.sizes["D"]
    arrays = {name: array[:, 0] if name in ("query", "key", "value") else array for name, array in plain.arrays.items()}
    arrays |= dict.fromkeys(("W_q", "W_k", "W_v", "W_o"), np.eye(width))
    around = answer_to(subject, Problem(one_head_case(subject.case), arrays))
    base = answer_to(subject, plain)
    allowed = around.bound + base.bound[:, 0]
    return agree(around.output, base.output[:, 0], allowed, what="one head and the plain mechanism")


def self_case(case: Case) -> Case:
    """Return the self-attention that cross attention of a sequence with itself is."""
    sizes = {"B": case.sizes["B"], "L": case.sizes["Lq"], "E": case.sizes["E"]}
    return replace(case, mechanism="self_attention", sizes=sizes, options={**case.options, "positions": "none"})


def with_itself_case(case: Case) -> Case:
    """Return cross attention of a sequence with one of its length, with square projections."""
    return replace(case, sizes={**case.sizes, "Lk": case.sizes["Lq"], "D": case.sizes["E"]})


@check(
    "relation.cross_with_itself",
    changeable,
    of_mechanism("relation.cross_with_itself"),
    sampled=plain_single,
    other_cases=(self_case, with_itself_case),
)
def cross_with_itself(subject: Subject) -> Judgement:
    """Cross attention of a sequence with itself is self-attention: with identity projections O = E + self(E)."""
    alone = Problem.of(self_case(subject.case))
    sequence = alone.arrays["sequence"]
    arrays = {name: array for name, array in alone.arrays.items() if name != "sequence"}
    arrays |= {"sequence": sequence, "context": sequence}
    arrays |= dict.fromkeys(("W_q", "W_k", "W_v"), np.eye(sequence.shape[-1]))
    crossed, base = answer_to(subject, Problem(with_itself_case(subject.case), arrays)), answer_to(subject, alone)
    allowed = crossed.bound + base.bound
    return agree(crossed.output, sequence + base.output, allowed, what="cross attention and self-attention")


def one_map_case(case: Case) -> Case:
    """Return the scaled dot product of the first queries and keys."""
    return replace(case, mechanism="scaled_dot_product")


@check(
    "relation.equal_halves",
    changeable,
    of_mechanism("relation.equal_halves"),
    sampled=plain_single,
    other_cases=(one_map_case,),
)
def equal_halves(subject: Subject) -> Judgement:
    r"""With equal queries and keys for both maps, differential attention is $1 - \lambda$ times scaled dot product."""
    problem = Problem.of(subject.case)
    arrays = dict(problem.arrays)
    query, key = arrays["query_1"], arrays["key_1"]
    halves = answer_to(subject, problem.changed(query_2=query, key_2=key))
    (q1, k1), (q2, k2) = ((arrays.pop(f"lambda_q{n}"), arrays.pop(f"lambda_k{n}")) for n in (1, 2))
    part = 1 - (np.exp(q1 @ k1) - np.exp(q2 @ k2) + LAMBDA_INIT)
    for name in ("query_1", "query_2", "key_1", "key_2"):
        del arrays[name]
    plain = answer_to(subject, Problem(one_map_case(subject.case), arrays | {"query": query, "key": key}))
    allowed = halves.bound + np.abs(part) * plain.bound
    return agree(halves.output, part * plain.output, allowed, what="differential attention of equal halves and one map")


@check(
    "relation.position_distance",
    changeable,
    of_mechanism("relation.position_distance"),
    lambda _, case: min(case.sizes["B"], case.sizes["L"]) > 0 and case.sizes["E"] > 1,
    sampled=simple,
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
    same = np.broadcast_to(answer.output[:1], answer.output.shape)
    judged = [agree(answer.output, same, answer.bound + answer.bound[:1], what="encodings of two sequences")]
    judged += _by_distance(answer.output[0, :, :paired], answer.bound[0, :, :paired])
    return worst(judged)


@check(
    "relation.rotated_distance",
    changeable,
    of_mechanism("relation.rotated_distance"),
    lambda _, case: min(case.sizes["B"], case.sizes["H"], case.sizes["L"]) > 0,
    sampled=simple,
)
def rotated_distance(subject: Subject) -> Judgement:
    r"""The inner products of one vector, rotated to each position, depend on the distance of the positions alone.

    $(R_s x)^\top R_t x = x^\top R_{t - s} x$; at distance 0 it is the squared norm. The vector is the first one of each
    head.
    """
    problem = Problem.of(subject.case)
    sequence = problem.arrays["sequence"]
    first = np.broadcast_to(sequence[:, :, :1], sequence.shape).copy()
    answer = answer_to(subject, problem.changed(sequence=first))
    heads = np.ndindex(*answer.output.shape[:2])
    return worst([one for head in heads for one in _by_distance(answer.output[head], answer.bound[head])])


def _by_distance(table: NDArray[np.float64], bound: NDArray[np.float64]) -> Iterator[Judgement]:
    """Judge that the inner products of a table's rows, which err by the bound, depend on the rows' distance alone."""
    inner = table @ table.T
    error = np.abs(table) @ bound.T
    error = error + error.T + bound @ bound.T + table.shape[1] * 2.0**-53 * (np.abs(table) @ np.abs(table).T)
    for distance in range(len(table)):
        products, errors = np.diagonal(inner, distance), np.diagonal(error, distance)
        same = np.full_like(products, products[0])
        yield agree(products, same, errors + errors[0], what=f"products {distance} apart")
