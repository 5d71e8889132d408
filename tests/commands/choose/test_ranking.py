"""Ranks from measurements whose truth is known."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from attention_harness.benchmark.ranking import ranked, unreliable
from attention_harness.commands.choice import Choice
from attention_harness.model.case import Case
from attention_harness.model.measurement import Measurement
from tests.report.compare.conftest import measured


def arm(name: str, factor: float, *, noise: float = 0.002, **other: object) -> Measurement:
    """Return a measurement of an arm whose every pass is off by its own factor; rounds share their disturbance."""
    own, rounds = random.Random(name), random.Random(0)
    passes = []
    for _ in range(5):
        off = factor * own.gauss(1, noise)
        passes.append(tuple(1e-3 * off * rounds.uniform(1, 3) for _ in range(15)))
    return measured(factor, name=name, wall_s=tuple(passes), cpu_s=tuple(passes), **other)


def places(*rows: Measurement) -> dict[str, tuple[int, str]]:
    """Return rank and answer by name."""
    return {place.implementation: (place.rank, place.answer) for place in ranked(rows)}


def test_clear_differences_are_ranks():
    """Fastest first, whatever order they come in; a rank for each."""
    found = places(arm("slow", 2.0), arm("fast", 1.0), arm("middle", 1.5))
    assert {"fast": (1, "leads"), "middle": (2, "leads"), "slow": (3, "leads")} == found
    assert ["fast", "middle", "slow"] == list(found)


def test_ties_share_a_rank_and_the_next_counts_them():
    """Two within the margin are one rank; who follows is third."""
    found = places(arm("one", 1.0), arm("other", 1.002), arm("last", 1.3))
    assert {(1, "leads"), (1, "same")} == {found["one"], found["other"]}
    assert (3, "leads") == found["last"]


def test_what_is_too_noisy_to_tell_is_a_tie_and_says_so():
    """Not excluded, not found: inconclusive."""
    assert (1, "inconclusive") == places(arm("one", 1.0), arm("noisy", 1.06, noise=0.06))["noisy"]


def test_a_chain_of_ties_does_not_carry_a_difference_along():
    """Each is compared with the leader of the rank: the one that is slower than it leads the next rank."""
    found = places(*(arm(f"step{n}", 1.008**n, noise=0.0005) for n in range(5)))
    assert (1, "leads") == found["step0"]
    assert (1, "same") == found["step1"]
    later = [found[f"step{n}"] for n in range(2, 5)]
    assert any(rank > 1 for rank, _ in later)
    assert [rank for rank, _ in later] == sorted(rank for rank, _ in later)


def test_the_interval_is_over_the_fastest():
    """The true ratio lies inside, and the fastest's own is 1."""
    first, second = ranked([arm("one", 1.0), arm("other", 1.5)])
    assert (1.0, 1.0, 1.0) == (first.ratio, first.low, first.high)
    assert second.low <= 1.5 <= second.high
    assert second.low > 1.4


def test_a_lost_pass_falls_back_on_the_baseline():
    """Rounds that do not pair are not compared: the two intervals over the baseline are."""
    short = arm("short", 1.5)
    short = measured(1.5, name="short", wall_s=short.wall_s[:3], cpu_s=short.cpu_s[:3])
    assert (2, "leads") == places(arm("one", 1.0), short)["short"]


def test_what_waits_is_not_compared_by_cpu_time():
    """It takes twice the time on the wall and none on the CPU: its own answer over the baseline counts."""
    base = arm("eager", 1.0, answer="baseline", low=None, high=None, level=None)
    busy = arm("busy", 1.2, clock="cpu")
    asleep = replace(arm("asleep", 2.0), cpu_s=tuple(tuple(t / 9 for t in one) for one in base.wall_s))
    assert {"eager": (1, "leads"), "busy": (2, "leads"), "asleep": (3, "leads")} == places(base, asleep, busy)


@pytest.mark.parametrize(
    ("spoiled", "row"),
    [
        (False, arm("one", 1.0)),
        (False, arm("one", 1.0, answer="unreliable", reason="its threads were preempted")),
        (True, arm("one", 1.0, control_ratio=1.03)),
    ],
)
def test_a_spoiled_cell_has_no_ranks(spoiled, row):
    """The A/A control's drift is the reason."""
    assert spoiled == bool(unreliable([row, arm("other", 1.2)]))


def test_what_is_unreliable_alone_is_out_and_the_others_are_ranked():
    """With its reason; and ratios of CPU time beside times on the wall are told as such."""
    base = arm("eager", 1.0, answer="baseline", low=None, high=None, level=None)
    several = arm("several", 0.5, answer="unreliable", reason="its threads were preempted")
    found = Choice(case := Case.from_id(base.case), case, "forward", 1)
    found.rank([base, arm("one", 1.5, clock="cpu"), several])
    assert {"several": ("unreliable", "its threads were preempted")} == found.out
    assert ["eager", "one"] == [place.implementation for place in found.places]
    assert "ratios of one are of the thread's CPU time" in found.text()
    assert "" == found.withheld


def test_where_nothing_beside_the_baseline_holds_there_are_no_ranks():
    """The first one's reason is told."""
    rows = [arm(name, 1.0, answer="unreliable", reason=f"the A/A control is off, {name}") for name in ("one", "other")]
    base = arm("eager", 1.0, answer="baseline", low=None, high=None, level=None)
    assert "the A/A control is off, one" == unreliable([base, *rows])
