"""A pass that zeros or means would get too is marked; where the right answer is such a one, it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, is_uninformative, judge, worst
from attention_harness.cases.ids import parse
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import Status
from attention_harness.mutation.campaign import select
from attention_harness.mutation.sensitivity import sensitivity

SIGNAL = np.array([[1.0, -2.0], [3.0, 4.0]])
CHANNELS = np.array([[10.0, -10.0], [10.5, -10.5]])
VACUOUS = "multi_head-B3H2Lq2Lk129E12Eq8Ek11Ev8O9-bfloat16-plain-shifted-transposed"  # no layout that is refused on AMX


def bound_of(value, bound):
    return ErrorBound(value, np.broadcast_to(bound, value.shape), np.broadcast_to(bound, value.shape), None, None)


@pytest.mark.parametrize(
    ("value", "bound", "vacuous"),
    [
        (SIGNAL, 0.1, False),
        (SIGNAL, 4.0, True),  # zeros
        (SIGNAL + 100, 3.6, True),  # the mean of all
        (CHANNELS, 0.3, True),  # the mean of each channel
        (CHANNELS, 0.2, False),
        (np.zeros((2, 2)), 1.0, False),  # zero is right
        (np.full((2, 2), 7.0), 1.0, False),  # and so is 7
        (np.full((2, 2), 7.0), 8.0, True),
        (SIGNAL, 0.0, False),
        (np.where(SIGNAL > 3, np.nan, SIGNAL), 3.5, True),  # NaN stays
        (np.zeros((0, 2)), 1.0, False),
    ],
)
def test_what_zeros_or_means_would_pass(value, bound, vacuous):
    """By the judge itself, where its bound leaves room."""
    error_bound = bound_of(value, bound)
    assert vacuous is is_uninformative(error_bound)
    assert vacuous is judge(value, error_bound).uninformative


def test_a_row_without_room_stays_right():
    """A fully masked row is zero by rule: the rows beside it decide."""
    error_bound = replace(bound_of(SIGNAL, 4.0), bound=np.array([[4.0, 4.0], [0.0, 0.0]]))
    assert is_uninformative(error_bound)


def test_statistics_are_asked_too():
    """A wide bound with a narrow deviation tells zeros from the right answer."""
    value = np.linspace(-1, 1, 64).reshape(4, 16)
    wide, narrow = np.full((4, 16), 2.0), np.full((4, 16), 0.01)
    rows = {"weighing": np.arange(4.0), "independent": np.full(4, 16.0)}
    narrow = ErrorBound(value, wide, narrow, np.ones(4, bool), None, **rows)
    assert not is_uninformative(narrow)


def test_of_several_tensors_one_suffices():
    """A check that judges several says something where any of them does."""
    vacuous = Judgement(0.9, uninformative=True)
    assert not worst([vacuous, Judgement(0.1)]).uninformative
    assert worst([vacuous, vacuous]).uninformative


def test_a_verdict_says_so():
    """From the judge to the verdict and the list of sensitivities; a failure says something."""
    case = parse(VACUOUS)
    [[], [sound]] = select(["divided last"])
    item = plan_item(sound.implementation(), case)
    found = {verdict.check: verdict for verdict in run_checks(item)}
    assert found["accuracy"].status is Status.PASS
    assert found["accuracy"].uninformative
    assert sensitivity(case).uninformative
    wrong = replace(sound, patches=(*sound.patches, ("output = weights @ v / total", "output = 1e6 + v[..., :1, :]")))
    failed = next(v for v in run_checks(plan_item(wrong.implementation(), case)) if v.check == "accuracy")
    assert (failed.status, failed.uninformative) in ((Status.FAIL, False), (Status.ERROR, False))
