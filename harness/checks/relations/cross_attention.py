"""Cross attention of a sequence with itself is self-attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.relations.answer import answer_to
from attention_harness.checks.relations.comparison import agree
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, plain_single
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case


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
