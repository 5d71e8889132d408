"""Each second counts on one account."""

from __future__ import annotations

import pytest

from attention_harness.model import time_account


@pytest.fixture
def clock(monkeypatch):
    """Return a function that lets time pass."""
    now = [100.0]
    monkeypatch.setattr(time_account.time, "perf_counter", lambda: now[0])
    time_account.taken()

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_what_is_inside_counts_for_the_inner_account(clock):
    """A call of an implementation inside a check of the harness, with the reference before it."""
    with time_account.spent(time_account.HARNESS):
        clock(1)
        with time_account.spent(time_account.REFERENCE):
            clock(4)
        with time_account.spent(time_account.IMPLEMENTATION):
            clock(2)
            with time_account.spent(time_account.IMPLEMENTATION):
                clock(1)
        clock(0.5)
    assert {"harness": 1.5, "reference": 4.0, "implementation": 3.0} == time_account.taken()
    assert {} == time_account.taken()


def test_an_exception_is_counted_too(clock):
    """What raises has taken its time."""

    @time_account.spent(time_account.REFERENCE)
    def fails():
        clock(3)
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert {"reference": 3.0} == time_account.taken()
