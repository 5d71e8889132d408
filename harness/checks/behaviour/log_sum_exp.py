"""Which log-sum-exp comes back: the base and the sign of the logarithm, and what a row has that sees no key."""

from __future__ import annotations

import math

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import finding, is_anchor, takes, ways_to_hide, with_option
from attention_harness.checks.behaviour.visibility import last_batch_hidden
from attention_harness.checks.declaration import check
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.log_sum_exp import bound_of, stored_as
from attention_harness.checks.subject import Subject
from attention_harness.model.capabilities import word_of
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms

_FACTORS = {
    "natural": 1.0,
    "base 2": 1 / math.log(2),
    "base 10": 1 / math.log(10),
    "natural, negated": -1.0,
    "base 2, negated": -1 / math.log(2),
}
"""Each reading, and what the natural logarithm is multiplied by to give it."""
_WITHOUT_KEYS = {"minus infinity": -np.inf, "infinity": np.inf, "NaN": np.nan, "0": 0.0}
_OTHER = "other"


def _probes(implementation: Declaration, case: Case) -> list[Case]:
    """Return the cases with an option that asks for a further result."""
    names = [name for name, option in OPTIONS.items() if option.returned]
    return [probe for name in names for probe in with_option(implementation, case, name).values()]


@check("behaviour.log_sum_exp", is_anchor, lambda one, case: bool(_probes(one, case)))
def log_sum_exp(subject: Subject) -> Judgement:
    """The base and sign of the log-sum-exp that is returned, and what it is in a row that sees no key."""
    found = []
    for case in _probes(subject.implementation, subject.case):
        found.append(_reading(subject, case))
        ways = ways_to_hide(subject.implementation, case)
        policy = subject.implementation.capabilities.policy  # where it is another one, nothing is promised
        zero = (way for way in ways if word_of(policy, way) == "zero")
        way = next((way for way in zero if takes(subject.implementation, ways[way])), None)
        if way is not None and case.sizes["B"] > 1:
            found.append(f"{_without_keys(subject, ways[way], way)} without a key")
    declared = ["natural", "minus infinity without a key"][: len(found)]
    return finding(", ".join(found), ", ".join(declared), found != declared)


def _reading(subject: Subject, case: Case) -> str:
    """Return the word for the logarithm that comes back."""
    tensors = inputs.tensors(case)
    answer = subject.prepared_for(case).call(tensors).lse
    arithmetic = subject.implementation.capabilities.arithmetic
    bound = bound_of(case, inputs.exact(tensors), arithmetic)
    dtype = stored_as(answer, case, bound.value.shape, arithmetic)
    got = to_array(answer)
    for word, factor in _FACTORS.items():
        value = factor * bound.value
        if (np.abs(got - value) <= abs(factor) * bound.bound + dtype.roundoff * np.abs(value) + dtype.smallest).all():
            return word
    return _OTHER


def _without_keys(subject: Subject, case: Case, way: str) -> str:
    """Return the word for what the last batch element has, from whose queries every key is hidden."""
    answer = subject.prepared_for(case).call(last_batch_hidden(case, way)).lse
    shape = inputs.shape_of(mechanisms()[case.mechanism].scores[:-1], case.sizes)
    stored_as(answer, case, shape, subject.implementation.capabilities.arithmetic)
    rows = to_array(answer)[-1]
    same = (word for word, value in _WITHOUT_KEYS.items() if np.array_equal(rows, np.full_like(rows, value), True))
    return next(same, _OTHER)
