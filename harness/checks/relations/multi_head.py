"""Multi-head attention with one head is the plain mechanism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, plain_single
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case


def plain_case(case: Case) -> Case:
    """Return the scaled dot product that multi-head attention with one head and identity projections is."""
    width = case.sizes["Eq"]
    sizes = {axis: case.sizes[axis] for axis in ("B", "Lq", "Lk")} | {"H": 1, "Hk": 1, "D": width, "Dv": width}
    return replace(case, mechanism="scaled_dot_product", sizes=sizes)


def one_head_case(case: Case) -> Case:
    """Return the case with one head and all widths equal."""
    width = case.sizes["Eq"]
    return replace(case, sizes={**case.sizes, "H": 1} | dict.fromkeys(("E", "Eq", "Ek", "Ev", "O"), width))


def means_the_same(implementation: Declaration, case: Case) -> bool:
    """Return whether the case's conditions mean the same without a head axis."""
    return "head" not in case.options.values()


@check(
    "relation.one_head",
    changeable,
    of_mechanism("relation.one_head"),
    means_the_same,
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
