"""What `check` prints of many verdicts: three failures of a kind, and every verdict in a count."""

from __future__ import annotations

import re

from msgspec import structs

from attention_harness.commands.check.summary import conforms, summary
from attention_harness.commands.console import Failures
from attention_harness.model.verdict import NOT_CHECKED, Status, Verdict


def verdict(number: int, status: Status = Status.FAIL, check: str = "accuracy", reason: str = "wrong") -> Verdict:
    """Return the verdict of `kernel` on a case of this number."""
    ratio = None if status in NOT_CHECKED else 0.5 if status is Status.PASS else 3.0
    reason = "" if status is Status.PASS else reason
    return Verdict("kernel", "cosine", f"cosine-B{number}", check, status, ratio, reason=reason, replay="again")


def test_the_first_failure_of_a_cause_is_printed(capsys):
    """With its reason and its replay; another check is another cause."""
    failures = Failures()
    for number in range(10):
        failures.show(verdict(number))
    failures.show(verdict(0, check="weights"))
    lines = capsys.readouterr().err.splitlines()
    assert ["FAIL kernel, accuracy, cosine-B0", "  wrong", "  replay: again"] == lines[:3]
    assert "FAIL kernel, weights, cosine-B0" == lines[3]
    assert 6 == len(lines)


def test_one_error_in_every_check_is_one_cause(capsys):
    """The same exception with other numbers is printed once, and counted with three of its cases."""
    raised = [
        Verdict("kernel", "cosine", f"cosine-B{n}", check, Status.ERROR, reason=f"RuntimeError: no kernel for {n} keys")
        for n in range(20)
        for check in ("accuracy", "purity", "gradient")
    ]
    failures = Failures()
    for one in raised:
        failures.show(one)
    assert 1 == capsys.readouterr().err.count("RuntimeError: no kernel for 0 keys\n")
    _, group, *cases, _, _ = summary(raised, 60).splitlines()
    assert "    60 error: RuntimeError: no kernel for 0 keys (of 3 checks)" == group
    assert [*(f"        cosine-B{n}" for n in range(3)), "        and 17 more cases"] == cases


def test_every_verdict_is_counted():
    """In the largest groups by cause, in the others together: the groups of a line add up to it."""
    failed = [verdict(n, check=f"check{n % 6}") for n in range(30)]
    skipped = [verdict(n, Status.UNSUPPORTED, reason=f"reason {n}") for n in range(7)]
    found = [*failed, *skipped, verdict(0, Status.PASS)]
    name, *groups, total, answer = summary(found, 38).splitlines()
    assert "kernel  30 fail, 7 unsupported, 1 pass; worst error ratio 3.00" == name
    counts = [int(count[1]) for line in groups if (count := re.match(r" {4}(\d+) ", line))]
    assert [5, 5, 5, 5, 10, 1, 1, 1, 1, 3] == counts
    assert "    10 more, of 2 other causes; --out and --json have each" in groups
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


def test_what_was_not_asked_does_not_conform():
    """It is counted, its reason is printed, and the run is no proof."""
    left_out = verdict(1, Status.NOT_ASKED, reason="window is declared, and no case asks for it")
    found = [verdict(0, Status.PASS), left_out]
    assert not conforms(found)
    lines = summary(found, 2).splitlines()
    assert "    1 not_asked: window is declared, and no case asks for it" in lines
    assert "checked 1 + 0 unsupported + 0 unavailable + 1 not_asked = 2 of 2 planned" == lines[-2]
    assert "incomplete: 1 not asked" == lines[-1]


def test_uninformative_passes_are_counted_apart():
    """They are no part of the headline, and alone they show nothing."""
    vacuous = structs.replace(verdict(1, Status.PASS), uninformative=True)
    name, total, apart, answer = summary([verdict(0, Status.PASS), vacuous], 2).splitlines()
    assert "kernel  2 pass (1 uninformative); worst error ratio 0.50" == name
    assert "checked 1 + 1 uninformative + 0 unsupported + 0 unavailable = 2 of 2 planned" == total
    assert apart.startswith("uninformative: 1 passes that zeros or means would get too")
    assert "conforms" == answer
    assert not conforms([vacuous])
    assert summary([vacuous], 1).endswith("nothing was checked")
