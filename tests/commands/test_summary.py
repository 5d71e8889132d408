"""What `check` prints of many verdicts: three failures of a kind, and every verdict in a count."""

from __future__ import annotations

import re

from attention_harness.commands.check.summary import conforms, summary
from attention_harness.commands.console import EXAMPLES, Failures
from attention_harness.model.verdict import Status, Verdict


def verdict(number: int, status: Status = Status.FAIL, check: str = "accuracy", reason: str = "wrong") -> Verdict:
    """Return the verdict of `kernel` on a case of this number."""
    ratio = None if status in (Status.UNSUPPORTED, Status.UNAVAILABLE) else 0.5 if status is Status.PASS else 3.0
    reason = "" if status is Status.PASS else reason
    return Verdict("kernel", "cosine", f"cosine-B{number}", check, status, ratio, reason=reason, replay="again")


def test_the_first_failures_of_a_kind_are_printed(capsys):
    """Each with its reason and its replay, then one line for the others; another check is another kind."""
    failures = Failures()
    for number in range(10):
        failures.show(verdict(number))
    failures.show(verdict(0, check="weights"))
    lines = capsys.readouterr().err.splitlines()
    assert [f"FAIL kernel, accuracy, cosine-B{number}" for number in range(EXAMPLES)] == lines[0 : 3 * EXAMPLES : 3]
    assert ["more like it, counted below: fail of kernel, accuracy"] == lines[3 * EXAMPLES : -3]
    assert "FAIL kernel, weights, cosine-B0" == lines[-3]


def test_every_verdict_is_counted():
    """In the largest groups by name, in the others together: the groups of a line add up to it."""
    failed = [verdict(n, check=f"check{n % 6}") for n in range(30)]
    skipped = [verdict(n, Status.UNSUPPORTED, reason=f"reason {n}") for n in range(7)]
    found = [*failed, *skipped, verdict(0, Status.PASS)]
    name, *groups, total, answer = summary(found, 38).splitlines()
    assert "kernel  30 fail, 7 unsupported, 1 pass; worst error ratio 3.00" == name
    counts = [int(re.match(r" +(\d+) ", line)[1]) for line in groups]
    assert [5, 5, 5, 5, 10, 1, 1, 1, 1, 3] == counts
    assert "10 more, of 2 other checks" in groups[4]
    assert "checked 31 + 7 unsupported + 0 unavailable = 38 of 38 planned" == total
    assert "does not conform: 30 of 31" == answer


def test_a_run_conforms_where_something_was_checked_and_nothing_is_wrong():
    """Nothing checked shows nothing; a known failure is no failure; what is missing is no proof."""
    right, skipped = verdict(0, Status.PASS), verdict(0, Status.UNSUPPORTED)
    assert conforms([right, skipped, verdict(1, Status.KNOWN_FAILURE)])
    assert not conforms([skipped])
    assert not conforms([])
    assert not conforms([right, verdict(1)])
    assert summary([right], 2).endswith("incomplete: 1 planned verdicts are missing")
    assert summary([skipped], 1).endswith("nothing was checked")
