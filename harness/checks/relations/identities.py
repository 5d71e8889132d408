"""What one mechanism's formula promises alone, and where two mechanisms are one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.relations.problem import Array, Problem, agree, ask, on_grid, worst
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES


def cosine_scaling(subject: Subject) -> Judgement:
    r"""Cosine ignores positive scaling: f(αQ, βK, V) = f(Q, K, V), with other powers of two for each row."""
    own = Problem.of(subject.case)
    query, key = own.arrays["query"], own.arrays["key"]
    scaled = own.changed(query=query * _powers(query.shape[-2], 3), key=key * _powers(key.shape[-2], 5))
    base, other = ask(subject, own), ask(subject, scaled)
    return agree(base.output, other.output, base.bound + other.bound, what="the answers before and after scaling")


def _powers(length: int, period: int) -> Array:
    return np.exp2(1.0 + np.arange(length)[:, None] % period)


def is_cosine(case: Case) -> bool:
    """Whether the score is a cosine."""
    return "cosine" in (case.mechanism, case.options.get("score"))


def gaussian_translation(subject: Subject) -> Judgement:
    """Gaussian ignores translation: f(Q + t, K + t, V) = f(Q, K, V); t and the numbers are such that no sum rounds."""
    own = Problem.of(subject.case)
    query, key = own.arrays["query"], own.arrays["key"]
    size = float(max(np.abs(query).max(initial=0.0), np.abs(key).max(initial=0.0)))
    step = 2.0 ** np.ceil(np.log2(size)) if size > 0 else 1.0
    move = step * np.where(np.arange(query.shape[-1]) % 2, -1.0, 1.0)
    query, key = (on_grid(subject.case, array, size + step) for array in (query, key))
    base = ask(subject, own.changed(query=query, key=key))
    moved = ask(subject, own.changed(query=query + move, key=key + move))
    return agree(base.output, moved.output, base.bound + moved.bound, what="the answers before and after translation")


def is_gaussian(case: Case) -> bool:
    """Whether the score depends on the difference of query and key alone."""
    return case.mechanism == "gaussian_kernel"


def plain_case(case: Case) -> Case:
    """Return the scaled dot product that multi-head attention with one head and identity projections is."""
    width = case.sizes["Eq"]
    sizes = {axis: case.sizes[axis] for axis in ("B", "Lq", "Lk")} | {"H": 1, "Hk": 1, "D": width, "Dv": width}
    return replace(case, mechanism="scaled_dot_product", sizes=sizes)


def one_head_case(case: Case) -> Case:
    """Return the case with one head and all widths equal."""
    width = case.sizes["Eq"]
    return replace(case, sizes={**case.sizes, "H": 1} | dict.fromkeys(("E", "Eq", "Ek", "Ev", "O"), width))


def one_head(subject: Subject) -> Judgement:
    """Multi-head with one head and identity projections is the plain mechanism, scaled dot product."""
    plain = Problem.of(plain_case(subject.case))
    width = plain.case.sizes["D"]
    arrays = {name: array[:, 0] if name in ("query", "key", "value") else array for name, array in plain.arrays.items()}
    arrays |= dict.fromkeys(("W_q", "W_k", "W_v", "W_o"), np.eye(width))
    around = ask(subject, Problem(one_head_case(subject.case), arrays))
    base = ask(subject, plain)
    allowed = around.bound + base.bound[:, 0]
    return agree(around.output, base.output[:, 0], allowed, what="one head and the plain mechanism")


def is_multi_head(case: Case) -> bool:
    """Whether the case is multi-head attention, whose conditions mean the same without its projections."""
    return case.mechanism == "multi_head" and case.options.get("mask") != "head" and case.options.get("bias") != "head"


def self_case(case: Case) -> Case:
    """Return the self-attention that cross attention of a sequence with itself is."""
    sizes = {"B": case.sizes["B"], "L": case.sizes["Lq"], "E": case.sizes["E"]}
    return replace(case, mechanism="self_attention", sizes=sizes, options={**case.options, "positions": "none"})


def with_itself_case(case: Case) -> Case:
    """Return cross attention of a sequence with one of its length, with square projections."""
    return replace(case, sizes={**case.sizes, "Lk": case.sizes["Lq"], "D": case.sizes["E"]})


def cross_with_itself(subject: Subject) -> Judgement:
    """Cross attention of a sequence with itself is self-attention: with identity projections O = E + self(E)."""
    alone = Problem.of(self_case(subject.case))
    sequence = alone.arrays["sequence"]
    arrays = {name: array for name, array in alone.arrays.items() if name != "sequence"}
    arrays |= {"sequence": sequence, "context": sequence}
    arrays |= dict.fromkeys(("W_q", "W_k", "W_v"), np.eye(sequence.shape[-1]))
    crossed, base = ask(subject, Problem(with_itself_case(subject.case), arrays)), ask(subject, alone)
    allowed = crossed.bound + base.bound
    return agree(crossed.output, sequence + base.output, allowed, what="cross attention and self-attention")


def is_cross(case: Case) -> bool:
    """Whether the case is cross attention."""
    return case.mechanism == "cross_attention"


def position_distance(subject: Subject) -> Judgement:
    r"""Position encodings' inner products depend on the distance alone: $P_i P_j^\top = \sum_m \cos((i - j) \omega_m)$.

    Each pair of columns, a sine and a cosine of one frequency, is a point on the unit circle; a last column without
    partner is left out. The encodings are the answer to a sequence of zeros.
    """
    own = Problem.of(subject.case)
    problem = own.changed(sequence=0 * own.arrays["sequence"])
    answer = ask(subject, problem)
    paired = answer.output.shape[-1] // 2 * 2
    table, bound = answer.output[0, :, :paired], answer.bound[0, :, :paired]
    inner = table @ table.T
    error = np.abs(table) @ bound.T
    error = error + error.T + bound @ bound.T + paired * DTYPES["float64"].roundoff * (np.abs(table) @ np.abs(table).T)
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


def has_positions(case: Case) -> bool:
    """Whether the case is a position encoding of some positions of some width."""
    return case.mechanism == "positional_encoding" and min(case.sizes["B"], case.sizes["L"]) > 0 and case.sizes["E"] > 1
