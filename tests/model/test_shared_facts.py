"""What failing cases share is found for any condition, from ids alone, and never said beyond what the counts bear."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from attention_harness.model.case import Case
from attention_harness.model.facts_of_cases import Fact
from attention_harness.model.shared_facts import SharedFacts, best_conjunctions, shared_facts
from attention_harness.model.verdict import Status, Verdict

LENGTHS = ((5, 7), (7, 5), (1, 9), (9, 1), (8, 8), (0, 4), (300, 17), (16, 0), (7, 33), (33, 8))
WIDTHS = ((8, 6), (64, 8), (80, 16), (1, 1), (16, 16))
BATCHES = ((2, 3, 3), (1, 6, 2), (3, 4, 1), (3, 2, 2))
OPTIONS = (
    {},
    {"mask": "full"},
    {"causal": "top_left"},
    {"causal": "top_left", "mask": "batch"},
    {"causal": "bottom_right", "mask": "full"},
    {"bias": "full", "mask": "head"},
    {"scale": 0.5},
    {"scale": -0.25, "causal": "top_left"},
)
LAYOUTS, CONTENTS, DTYPES = ("contiguous", "expanded"), ("ordinary", "tiny"), ("float32", "bfloat16")


def cases() -> list[Case]:
    """Return the cases that a declaration of several options could get: some of all combinations."""
    every = itertools.product(LENGTHS, WIDTHS, BATCHES, OPTIONS, CONTENTS, LAYOUTS, DTYPES)
    return [
        Case(
            "scaled_dot_product",
            {"B": batch, "H": heads, "Hk": key_heads, "Lq": queries, "Lk": keys, "D": width, "Dv": value_width},
            dtype,
            options,
            content,
            layout,
        )
        for (queries, keys), (width, value_width), (batch, heads, key_heads), options, content, layout, dtype in (
            random.Random(1).sample(list(every), 450)
        )
    ]


CASES = cases()


def verdict(case: str, status: Status, check: str = "accuracy") -> Verdict:
    ratio = 0.5 if status is Status.PASS else None
    return Verdict("mine", "scaled_dot_product", case, check, status, ratio, reason="" if ratio else "is wrong")


def found(fails: Callable[[Case], object], status: Status = Status.FAIL) -> SharedFacts:
    """Return what is said of all failures when the cases fail for which a condition holds."""
    first, *_ = shared_facts(verdict(case.id, status if fails(case) else Status.PASS) for case in CASES)
    return first


CONDITIONS = {
    ("mask", "causal"): lambda c: "mask" in c.options and "causal" in c.options,
    ("D > 64",): lambda c: c.sizes["D"] > 64,
    ("Lk = 0",): lambda c: c.sizes["Lk"] == 0,
    ("Lq > Lk",): lambda c: c.sizes["Lq"] > c.sizes["Lk"],
    ("Hk = 1", "expanded layout"): lambda c: c.sizes["Hk"] == 1 and c.layout == "expanded",
    ("dtype bfloat16", "tiny content"): lambda c: c.dtype == "bfloat16" and c.content == "tiny",
    ("causal=bottom_right", "B > 1", "Lq > 16"): (
        lambda c: c.options.get("causal") == "bottom_right" and c.sizes["B"] > 1 and c.sizes["Lq"] > 16
    ),
    ("scale=-0.25",): lambda c: c.options.get("scale", 1) < 0,
    ("causal", "no mask"): lambda c: "causal" in c.options and "mask" not in c.options,
    ("D no multiple of 8",): lambda c: c.sizes["D"] % 8,
}


@pytest.mark.parametrize(("number", "facts"), list(enumerate(CONDITIONS)))
def test_the_condition_is_found(number, facts):
    """The conjunction holds exactly where the condition does, whatever it is and however it fails."""
    condition = CONDITIONS[facts]
    failing = sum(bool(condition(case)) for case in CASES)
    told = found(condition, (Status.FAIL, Status.ERROR, Status.CRASH)[number % 3])
    [conjunction] = told.conjunctions
    assert told.exact
    assert (failing, failing, len(CASES) - failing) == (conjunction.failing, conjunction.cases, told.others)
    assert len(conjunction.facts) <= len(facts)
    same = {"D no multiple of 8": "D = 1", "Lq > 16": "Lq > 16"}  # of the widths and lengths that occur
    shown = {fact.partition(" (")[0] for fact in conjunction.facts}
    assert {same.get(fact, fact) for fact in facts} == {same.get(fact, fact) for fact in shown}


def test_two_causes_are_two_conjunctions():
    """Neither is told as a property of all failures."""
    told = found(lambda c: c.sizes["Lk"] == 0 or (c.dtype == "bfloat16" and c.options.get("mask") == "head"))
    assert told.exact
    found_facts = [{fact.partition(" (")[0] for fact in one.facts} for one in told.conjunctions]
    assert [{"Lk = 0"}, {"bias", "dtype bfloat16"}] == sorted(found_facts, key=len)
    assert str(told).count(" fail") == 2


def test_what_does_not_always_fail_is_told_with_both_counts():
    """Of the cases with a mask, those of an odd number fail, and one other."""
    numbers = {case.id: number for number, case in enumerate(CASES)}
    masked = [case for case in CASES if "mask" in case.options]
    spared = {case.id for case in masked[::20]}
    other = next(case for case in CASES if "mask" not in case.options and numbers[case.id] > 100)
    told = found(lambda c: ("mask" in c.options and c.id not in spared) or c == other)
    [conjunction] = told.conjunctions
    assert ("mask",) == conjunction.facts
    expected = (
        f"{len(masked) - len(spared)} of {len(masked)} cases with mask fail, 1 of {len(CASES) - len(masked)} others"
    )
    assert expected == str(told)


def test_where_everything_fails_nothing_separates():
    """No fact is blamed for what every case does."""
    assert f"all {len(CASES)} cases fail" == str(found(lambda case: True))
    assert [] == shared_facts(verdict(case.id, Status.PASS) for case in CASES)


def test_checks_that_fail_elsewhere_are_told_apart():
    """A gradient that fails on other cases than the output has a line of its own, among cases with that check."""
    verdicts = [
        verdict(case.id, Status.FAIL if fails(case) else Status.PASS, check)
        for check, fails in (
            ("accuracy", lambda c: c.sizes["D"] == 80 and c.dtype == "float32"),
            ("gradient", lambda c: c.layout == "expanded" and c.sizes["Lq"] > c.sizes["Lk"]),
            ("weights", lambda c: c.options.get("bias") and c.content == "tiny"),
            ("purity", lambda c: c.options.get("scale") and c.sizes["H"] == 4),
        )
        for case in CASES
    ]
    whole, *parts = shared_facts(
        [*verdicts, verdict("nonsense", Status.FAIL), verdict(CASES[0].id, Status.FAIL, "behaviour.x")]
    )
    told = {part.what: set(part.conjunctions[0].facts) for part in parts}
    assert all(part.exact for part in parts)
    of_whole = [set(one.facts) for one in whole.conjunctions]
    for check, facts in (("gradient", {"Lq > Lk", "expanded layout"}), ("accuracy", {"dtype float32", "D > 64"})):
        assert facts in of_whole or told[check,] == facts
    assert len(told) + len(of_whole) >= 4


def test_an_exact_conjunction_is_found_behind_many_that_are_nearly_right():
    """Seventy facts each miss one failing case and hold for no passing one; the three that are exact are named."""
    every, failing = (1 << 160) - 1, (1 << 80) - 1
    passing = every ^ failing
    exact = [
        Fact(name, 2.0, failing | sum(1 << place for place in range(80, 160) if place % 3 != k))
        for k, name in enumerate("abc")
    ]
    nearly = [Fact(f"nearly {k}", 1.0, failing ^ (1 << k)) for k in range(70)]
    [found] = best_conjunctions([*nearly, *exact], failing, passing)
    assert ["a", "b", "c"] == sorted(fact.text for fact in found)
