"""What a query that sees no key gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import can_hide, is_anchor, number_of_keys, ways_to_hide
from attention_harness.checks.behaviour.finding import by_word, finding
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import bounds_of
from attention_harness.checks.form import to_array
from attention_harness.checks.subject import Subject
from attention_harness.model.capabilities import FULLY_MASKED_ROWS
from attention_harness.model.case import Case
from attention_harness.options import hiding

if TYPE_CHECKING:
    from torch import Tensor


@check("behaviour.fully_masked_rows", is_anchor, can_hide)
def fully_masked_rows(subject: Subject) -> Judgement:
    """What a query that sees no key gets, by every way to hide keys: zero, NaN, the mean of the values, or other."""
    declared = subject.implementation.capabilities.fully_masked_rows
    found = {}
    for way, case in ways_to_hide(subject.implementation, subject.case).items():
        tensors = _last_batch_hidden(case, way)
        rows = to_array(subject.prepared_for(case).call(tensors).output)[-1:]
        fitting = (word for word in FULLY_MASKED_ROWS if _fits(rows, subject, case, tensors, word))
        found[way] = next(fitting, "other")
    return finding(by_word(found), declared, any(word != declared for word in found.values()))


def _last_batch_hidden(case: Case, way: str) -> dict[str, Tensor]:
    """Return the case's tensors, with every key hidden from the last batch element and none from the others."""
    import torch

    tensors = inputs.tensors(case)
    keys, rule = number_of_keys(case), hiding([way])[way]
    shown = rule.shown(tuple(tensors[way].shape), keys)
    hidden = rule.hide(shown, np.ones((1, keys), bool))
    tensors[way] = torch.from_numpy(np.concatenate([shown[:-1], hidden[-1:]])).to(tensors[way])
    return tensors


def _fits(rows: NDArray[np.float64], subject: Subject, case: Case, tensors: Mapping[str, Tensor], policy: str) -> bool:
    """Return whether the rows of the last batch element are what this policy makes of them."""
    arithmetic = subject.implementation.capabilities.arithmetic
    error_bound, _ = bounds_of(case, inputs.exact(tensors), arithmetic, policy)
    last = ErrorBound(error_bound.value[-1:], error_bound.bound[-1:], error_bound.deviation[-1:], None, None)
    return not judge(rows, last).reason
