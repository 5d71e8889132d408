"""An option that `bench` would ignore is a mistake, since it would be taken for obeyed; so is a number out of range."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("instead", "given", "option"),
    [
        (("--self-check",), ("--against", "HEAD"), "--against"),
        (("--self-check",), ("--baseline", "torch_sdpa"), "--baseline"),
        (("--self-check",), ("--threads", "2"), "--threads"),
        (("--self-check",), ("--memory", "4GiB"), "--memory"),
        (("--self-check",), ("--minutes", "1"), "--minutes"),
        (("--self-check",), ("eager",), "NAME"),
        (("--against", "HEAD"), ("--full",), "--full"),
        (("--against", "HEAD"), ("--resume",), "--resume"),
    ],
)
def test_it_is_refused(mistake, instead, given, option):
    """Also one with a default that says something."""
    assert f"bench {instead[0]} takes no {option}: leave it out" == mistake("bench", *given, *instead)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "an hour", "10081"])
def test_minutes_are_told_in_minutes(harness, minutes):
    """A week of them at most."""
    answer = harness("bench", f"--minutes={minutes}")
    assert 2 == answer.status
    assert f"argument --minutes: {minutes!r} is not a time in minutes above 0 and up to 10080" in answer.err


def test_a_seed_fits_into_a_result(harness):
    """The published schema of run.json has no room for 20 digits."""
    answer = harness("bench", "--seed", str(2**63), "--workload", "nothing")
    assert 2 == answer.status
    assert f"argument --seed: '{2**63}' is not a whole number from 0 to {2**63 - 1}" in answer.err
    assert "workload" in harness("bench", "--seed", str(2**63 - 1), "--workload", "nothing").err
