"""An option that a verb would ignore is refused, since it would be taken for obeyed; so is a number out of range."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("command", "unknown"),
    [
        (("self-check",), ("--baseline", "torch_sdpa")),
        (("self-check",), ("--threads", "2")),
        (("self-check",), ("--memory", "4GiB")),
        (("self-check",), ("--quick",)),
        (("self-check",), ("eager",)),
        (("against", "HEAD"), ("--baseline", "torch_sdpa")),
        (("against", "HEAD"), ("--minutes", "1")),
        (("against", "HEAD"), ("--full",)),
        (("against", "HEAD"), ("--resume",)),
        ((), ("--repetitions",)),
    ],
)
def test_a_sub_verb_takes_its_own_arguments_alone(harness, command, unknown):
    """The matrix, `against` and `self-check` share no option that one of them would ignore."""
    answer = harness("bench", *command, *unknown)
    assert (2, "") == (answer.status, answer.out)
    assert f"unrecognized arguments: {' '.join(unknown)}" in answer.err


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "an hour", "10081"])
def test_minutes_are_minutes(harness, minutes):
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
