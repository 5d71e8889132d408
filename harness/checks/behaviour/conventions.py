"""Options that libraries count in more than one way: which of these an implementation counts in is measured."""

from __future__ import annotations

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import finding, is_anchor, with_option
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import bounds_of
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case, spelt
from attention_harness.options import OPTIONS

_DISPUTED = {name: option.read_as for name, option in OPTIONS.items() if option.read_as is not None}


def _asked(implementation: Declaration, case: Case) -> dict[str, dict[object, Case]]:
    """Return the cases with each disputed option that is taken: option -> form -> case."""
    found = {name: with_option(implementation, case, name) for name in _DISPUTED}
    return {name: cases for name, cases in found.items() if cases}


@check("behaviour.conventions", is_anchor, lambda one, case: bool(_asked(one, case)))
def conventions(subject: Subject) -> Judgement:
    """What a window and linear biases count: the form whose right answer comes back, that which is asked or another.

    The answer is held against the reference of the form that is asked, then against those that other libraries mean by
    the same words.
    """
    measured, declared, wrong = [], [], False
    for name, cases in _asked(subject.implementation, subject.case).items():
        words = []
        for form, case in cases.items():
            meant = _meant(subject, case, name, form)
            wrong |= meant != spelt(form)
            words.append(meant if meant == spelt(form) else f"{meant} where {spelt(form)} is asked")
        measured.append(f"{name} {' and '.join(words)}")
        declared.append(f"{name} {' and '.join(map(spelt, cases))}")
    return finding("; ".join(measured), "; ".join(declared), wrong)


def _meant(subject: Subject, case: Case, name: str, form: object) -> str:
    """Return the form whose right answer the implementation gives."""
    capabilities, tensors = subject.implementation.capabilities, inputs.tensors(case)
    output = to_array(subject.prepared_for(case).call(tensors).output)
    for one in (form, *_DISPUTED[name](form)):
        read = Case(case.mechanism, case.sizes, case.dtype, {**case.options, name: one}, case.content, case.layout)
        bound = bounds_of(read, inputs.exact(tensors), capabilities.arithmetic, capabilities.policy)[0]
        if ((np.abs(output - bound.value) <= bound.bound) | (np.isnan(output) & np.isnan(bound.value))).all():
            return spelt(one)
    return "none of its readings"
