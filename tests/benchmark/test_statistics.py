"""The judge of times, on synthetic samples whose truth is known."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from attention_harness.benchmark.statistics import (
    MARGIN,
    Comparison,
    Pass,
    compare,
    judge,
    log_ratio,
    preempted_share,
    thinned,
)
from attention_harness.model.student import interval, student_probability, student_quantile

TABLE = {  # two-sided quantiles of Student's t, as printed in every textbook: df -> (95 %, 99 %)
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    5: (2.571, 4.032),
    9: (2.262, 3.250),
    30: (2.042, 2.750),
}


@pytest.mark.parametrize("df", TABLE)
def test_quantiles_are_those_of_the_tables(df: int) -> None:
    """The quantile of Student's t agrees with the printed tables to their last digit."""
    assert TABLE[df] == tuple(round(student_quantile(level, df), 3) for level in (0.95, 0.99))


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 200])
def test_a_quantile_has_its_probability(df: int) -> None:
    """Quantile and probability undo each other, and all of the probability lies below infinity."""
    theta = math.atan(student_quantile(0.9, df) / math.sqrt(df))

    assert pytest.approx(student_probability(theta, df), abs=1e-12) == 0.9
    assert pytest.approx(student_probability(math.pi / 2, df), abs=1e-12) == 1.0


@pytest.mark.parametrize(("level", "df"), [(0, 4), (1, 4), (0.95, 0)])
def test_an_impossible_quantile_is_refused(level: float, df: int) -> None:
    """Levels of 0 and 1 and an interval without degrees of freedom are errors, not numbers."""
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_quantile(level, df)


def arms(
    seed: int, *factors: float, passes: int = 5, rounds: int = 60, noise: float = 0.03, process: float = 0.003
) -> list[list[Pass]]:
    """Return arms that share what disturbs each round; each also has noise of its own, by round and by process."""
    rng = random.Random(seed)
    made: list[list[Pass]] = [[] for _ in factors]
    for _ in range(passes):
        shared = [rng.lognormvariate(0, 0.3) * 1e-3 for _ in range(rounds)]  # the machine: far larger than any plant
        for arm, factor in zip(made, factors, strict=True):
            own = factor * rng.lognormvariate(0, process)
            cpu = tuple(own * both * rng.lognormvariate(0, noise) for both in shared)
            arm.append(Pass(tuple(time * 1.001 for time in cpu), cpu))
    return made


def answers(count: int, factor: float, **circumstances: Any) -> list[str]:
    """Return the answers for so many seeds and one true factor."""
    found = []
    for seed in range(count):
        base, aa_control, arm = arms(seed, 1.0, 1.0, factor, **circumstances)
        found.append(compare(arm, base, aa_control).answer)
    return found


def test_identical_arms_are_never_told_apart() -> None:
    """No faster and no slower among 200 comparisons of an arm with itself, under noise ten times the margin."""
    assert not {"faster", "slower"} & set(answers(200, 1.0))


@pytest.mark.parametrize(("factor", "answer"), [(1.1, "slower"), (1 / 1.1, "faster"), (1.03, "slower")])
def test_a_planted_difference_is_found(factor: float, answer: str) -> None:
    """A difference of 10 %, and of 3 %, is found in every one of 50 comparisons."""
    assert {answer} == set(answers(50, factor))


def test_a_difference_below_the_margin_is_never_claimed() -> None:
    """Half of the margin, measured very precisely, is "same"."""
    assert {"same"} == set(answers(50, 1 + MARGIN / 2, noise=0.003, process=0.0001))


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """The 95 % interval misses the true ratio in about 5 % of 400 trials."""
    missed = 0
    for seed in range(400):
        base, aa_control, arm = arms(seed, 1.0, 1.0, 1.05)
        found = compare(arm, base, aa_control)
        missed += not (found.low or 0) <= 1.05 <= (found.high or 0)

    assert 0.02 <= missed / 400 <= 0.09


def test_rounds_are_paired() -> None:
    """The machine slows down tenfold half-way for both arms; only pairing sees that the ratio stayed 2."""
    base = [1.0] * 10 + [10.0] * 11

    assert math.log(2) == log_ratio([2 * t for t in base], base)
    with pytest.raises(ValueError, match="zip"):
        log_ratio(base[1:], base)


def test_one_spoilt_round_changes_nothing() -> None:
    """A call that was interrupted for a second does not move the median."""
    assert log_ratio([1.0] * 9 + [1e3], [1.0] * 10) == 0.0


def spoilt_by(factor: float) -> Comparison:
    """Return a plain tenfold slowdown judged beside an A/A control that is off by a factor."""
    base, aa_control, arm = arms(1, 1.0, factor, 10.0)
    return compare(arm, base, aa_control)


def test_an_unreliable_control_withholds_the_answer() -> None:
    """An A/A control 5 % off makes its cell unreliable, whatever the difference, and the reason says so."""
    assert spoilt_by(1.0).answer == "slower"
    assert spoilt_by(1.05).answer == "unreliable"
    assert "A/A control" in spoilt_by(1.05).reason


def test_a_control_that_is_called_slower_withholds_the_answer() -> None:
    """An A/A control within the 2 % that comes out slower all the same makes its cell unreliable."""
    base, aa_control, arm = arms(1, 1.0, 1.016, 10.0, noise=0.003, process=0.0001)
    found = compare(arm, base, aa_control)

    assert 0 < found.control_ratio - 1 < 0.02
    assert found.answer == "unreliable"
    assert "slower" in found.reason


def test_the_control_widens_the_margin() -> None:
    """A difference no larger than the A/A control's is not claimed."""
    base, aa_control, arm = arms(2, 1.0, 1.0, 1.012, noise=0.003, process=0.0001)
    shifted = [Pass(tuple(t * 1.008 for t in p.wall_s), tuple(t * 1.008 for t in p.cpu_s)) for p in aa_control]
    further = [Pass(tuple(t * 1.0145 for t in p.wall_s), tuple(t * 1.0145 for t in p.cpu_s)) for p in aa_control]

    assert compare(arm, base, shifted).answer == "slower"
    assert compare(arm, base, further).answer != "slower"


def preempted(passes: list[Pass], share: float, rng: random.Random) -> list[Pass]:
    """Return the passes with a share of the samples interrupted: only their wall time grows."""
    return [
        Pass(tuple(t * (rng.uniform(1.5, 9) if rng.random() < share else 1) for t in p.wall_s), p.cpu_s) for p in passes
    ]


def test_a_preempted_cell_is_judged_by_cpu_time() -> None:
    """Above 10 % of interrupted samples the clock is CPU time, which still finds 10 %; below, it is the wall's."""
    base, aa_control, arm = arms(3, 1.0, 1.0, 1.1)
    heavy = [preempted(side, 0.6, random.Random(i)) for i, side in enumerate((arm, base, aa_control))]
    light = [preempted(side, 0.02, random.Random(i)) for i, side in enumerate((arm, base, aa_control))]

    assert (compare(*heavy).clock, compare(*heavy).answer) == ("cpu", "slower")
    assert (compare(*light).clock, compare(*light).answer) == ("wall", "slower")
    assert 0.5 < compare(*heavy).preempted < 0.7


def test_several_threads_have_no_cpu_time_to_fall_back_on() -> None:
    """Where CPU time is not that of one thread, preemption withholds the answer."""
    base, aa_control, arm = arms(3, 1.0, 1.0, 1.1)
    heavy = [preempted(side, 0.6, random.Random(i)) for i, side in enumerate((arm, base, aa_control))]

    assert compare(*heavy, one_thread=False).answer == "unreliable"
    assert "preempted" in compare(*heavy, one_thread=False).reason


def test_what_waits_is_not_called_preempted() -> None:
    """It sleeps a tenth of its time, which CPU time does not see: the wall decides, the baseline tells the noise."""
    base, aa_control, arm = arms(3, 1.0, 1.0, 1.1)
    sleeping = [Pass(p.wall_s, tuple(t / 1.1 for t in p.cpu_s)) for p in arm]
    busy = [preempted(side, 0.6, random.Random(i)) for i, side in enumerate((sleeping, base, aa_control))]
    found, blind = compare(sleeping, base, aa_control, waits=True), compare(sleeping, base, aa_control)

    assert (found.clock, found.answer) == ("wall", "slower")
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.1 < found.high
    assert (blind.clock, blind.answer) == ("cpu", "same")  # what the flag is for
    told = [[Pass(p.wall_s, p.cpu_s, frozenset(range(0, len(p.wall_s), 2))) for p in side] for side in busy]
    told = [
        [
            Pass(tuple(w if i % 2 == 0 else q.wall_s[i] for i, w in enumerate(p.wall_s)), p.cpu_s, p.cut)
            for p, q in zip(side, calm)
        ]
        for side, calm in zip(told, (sleeping, base, aa_control))
    ]
    assert (compare(*told, waits=True).clock, compare(*told, waits=True).answer) == ("wall", "slower")
    every = [[Pass(p.wall_s, p.cpu_s, frozenset(range(len(p.wall_s) - 4))) for p in side] for side in busy]
    assert compare(*every, waits=True).answer == "unreliable"
    assert "what waits" in compare(*every, waits=True).reason


def test_a_device_has_no_cpu_time() -> None:
    """Samples without CPU times are judged by the wall's clock."""
    base, aa_control, arm = ([Pass(p.wall_s) for p in side] for side in arms(4, 1.0, 1.0, 1.1))

    assert tuple(getattr(compare(arm, base, aa_control), name) for name in ("clock", "answer", "preempted")) == (
        "wall",
        "slower",
        0.0,
    )
    assert preempted_share((arm, base)) == 0.0


def test_one_pass_decides_nothing() -> None:
    """A single process has no interval: its answer is inconclusive, its ratio is stated."""
    base, aa_control, arm = arms(5, 1.0, 1.0, 2.0, passes=1)
    found = compare(arm, base, aa_control)

    assert pytest.approx(found.ratio, rel=0.05) == 2.0
    assert (found.low, found.high, found.level, found.detectable) == (None, None, None, None)
    assert found.answer == "inconclusive"


@pytest.mark.parametrize(
    ("estimate", "half", "answer"),
    [(0.05, 0.03, "slower"), (0.05, 0.045, "inconclusive"), (-0.05, 0.03, "faster"), (0.0, 0.029, "same"),
     (0.015, 0.02, "inconclusive"), (0.0, 0.05, "inconclusive"), (0.0, math.inf, "inconclusive")],
)  # fmt: skip
def test_the_four_answers(estimate: float, half: float, answer: str) -> None:
    """Beyond the margin it differs, inside the band it is the same, everything else is inconclusive."""
    assert answer == judge(estimate, half, MARGIN)


def test_what_could_have_been_seen_is_stated() -> None:
    """Fewer and noisier passes can show less; a difference of the detectable size is found."""
    base, aa_control, arm = arms(6, 1.0, 1.0, 1.0, passes=3, noise=0.2, process=0.02)
    coarse = compare(arm, base, aa_control).detectable
    base, aa_control, arm = arms(6, 1.0, 1.0, 1.0)
    fine = compare(arm, base, aa_control).detectable

    assert coarse is not None
    assert fine is not None
    assert MARGIN < fine < coarse / 2
    assert {"slower"} == set(answers(20, 1 + fine))


def test_an_interval_is_students() -> None:
    """Mean and t * s / sqrt(n), by hand: 1, 2, 3 have mean 2, s = 1, t = 4.303."""
    assert (2.0, pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)) == interval([1.0, 2.0, 3.0], 0.95)


def test_thinning_keeps_order_and_alignment() -> None:
    """At most 200 samples are kept, the same rounds whatever they hold; fewer are kept as they are."""
    kept = thinned(range(1000))

    assert len(kept) == 200
    assert list(kept) == sorted(kept)
    assert tuple(2 * i for i in kept) == thinned([2 * i for i in range(1000)])
    assert thinned([1, 2, 3]) == (1, 2, 3)
