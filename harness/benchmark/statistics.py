"""Samples -> answers: pure functions. The method and its measured error rates: `BENCHMARKING` section 1.

Two arms are compared round by round inside one process, since a round's two calls met the same machine. A process gives
one number, the median over its rounds of log(time / baseline's time); processes differ by more than rounds do, so the
interval is Student's over the processes. A difference below a practical margin is never called one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from attention_harness.model.student import interval

MARGIN = 0.01  # smallest difference ever called faster or slower
SAME = 0.03  # equivalence band
CONTROL = 0.02  # an A/A control of the baseline farther than this from 1 spoils its cell
PREEMPT = 0.02  # a sample is preempted if its wall time exceeds its CPU time by this share
PREEMPTED_MOST = 0.10  # above this share of preempted samples, wall time decides nothing
LEVEL = 0.95
FIRST_LOOK = 0.99  # level of a look that may be followed by a second one
UNDISTURBED = 5  # rounds of a pass that have to be, where an arm waits on a busy machine
KEPT = 200  # samples of a pass that a measurement keeps


@dataclass(frozen=True, slots=True)
class Pass:
    """The samples of one arm in one process, in round order: seconds for one call. `cpu_s` may be empty.

    cut  the rounds in which the scheduler took the core away
    """

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...] = ()
    cut: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm against the baseline: see the fields of `Measurement`. low, high, level: None from a single pass."""

    ratio: float
    low: float | None
    high: float | None
    level: float | None
    clock: str
    answer: str
    reason: str
    preempted: float
    detectable: float | None
    control_ratio: float
    pass_ratios: tuple[float, ...] = ()


def log_ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the median over rounds of log(time / baseline's time of the same round)."""
    return statistics.median(math.log(a / b) for a, b in zip(times, baseline, strict=True))


def preempted_share(arms: Sequence[Sequence[Pass]]) -> float:
    """Return the share of samples of all arms whose wall time exceeds their CPU time by more than PREEMPT."""
    pairs = [
        (wall, cpu)
        for passes in arms
        for one in passes
        for wall, cpu in zip(one.wall_s, one.cpu_s, strict=bool(one.cpu_s))
    ]
    return sum(wall > (1 + PREEMPT) * cpu for wall, cpu in pairs) / max(len(pairs), 1)


def judge(estimate: float, half: float, margin: float) -> str:
    """Return the answer for a log ratio: faster or slower only beyond log(1 + margin), same only inside the band."""
    if estimate - half > math.log1p(margin):
        return "slower"
    if estimate + half < -math.log1p(margin):
        return "faster"
    if max(estimate + half, half - estimate) < math.log1p(SAME):
        return "same"
    return "inconclusive"


def compare(
    arm: Sequence[Pass],
    baseline: Sequence[Pass],
    control: Sequence[Pass],
    *,
    one_thread: bool = True,
    waits: bool = False,
    level: float = LEVEL,
) -> Comparison:
    """Return how an arm compares with the baseline, given the baseline's A/A control, over the same passes and rounds.

    one_thread  all of the work is done by the thread whose CPU time was read, so that CPU time can decide
    waits       the arm gives its core away by itself, so that its wall time exceeds its CPU time although nobody
                preempted it: the baseline's samples tell how busy the machine was, and wall time alone can decide, on
                a busy machine over the rounds in which nobody was preempted
    """
    every = (arm, baseline, control)
    has_cpu = all(one.cpu_s and min(one.cpu_s) > 0 for passes in every for one in passes)
    share = preempted_share((baseline,) if waits else (arm, baseline)) if has_cpu else 0.0
    clock = "cpu" if share >= PREEMPTED_MOST and one_thread and not waits else "wall"
    busy = share >= PREEMPTED_MOST and clock == "wall"
    if busy and waits:
        calm = [_undisturbed(*one) for one in zip(arm, baseline, control, strict=True)]
        if all(len(one[0].wall_s) >= UNDISTURBED for one in calm):
            arm, baseline, control = zip(*calm, strict=True)
            busy = False
    medians = _medians(arm, baseline, clock)
    estimate, half = interval(medians, level)
    drift, drift_half = interval(_medians(control, baseline, clock), level)
    margin = max(MARGIN, math.expm1(abs(drift)))
    reason = _unreliable(drift, drift_half)
    if busy:
        says = "what waits" if waits else "several threads"
        reason = f"{share:.0%} of the samples were preempted, and CPU time says nothing about {says}"
    known = half < 100  # exp of more overflows; a single pass has an infinite one
    return Comparison(
        ratio=math.exp(estimate),
        low=math.exp(estimate - half) if known else None,
        high=math.exp(estimate + half) if known else None,
        level=level if known else None,
        clock=clock,
        answer="unreliable" if reason else judge(estimate, half, margin),
        reason=reason,
        preempted=share,
        detectable=math.expm1(math.log1p(margin) + 2.5 * half) if known else None,
        control_ratio=math.exp(drift),
        pass_ratios=tuple(map(math.exp, medians)),
    )


def _medians(arm: Sequence[Pass], baseline: Sequence[Pass], clock: str) -> list[float]:
    return [log_ratio(getattr(a, f"{clock}_s"), getattr(b, f"{clock}_s")) for a, b in zip(arm, baseline, strict=True)]


def _undisturbed(arm: Pass, baseline: Pass, control: Pass) -> tuple[Pass, Pass, Pass]:
    """Return the rounds of a pass in which the scheduler took the core from none of the three."""
    sides = (arm, baseline, control)
    rounds = [i for i in range(len(arm.wall_s)) if not any(i in side.cut for side in sides)]
    arm, baseline, control = (
        Pass(tuple(s.wall_s[i] for i in rounds), tuple(s.cpu_s[i] for i in rounds)) for s in sides
    )
    return arm, baseline, control


def _unreliable(drift: float, half: float) -> str:
    """Return why the A/A control of the baseline spoils its cell, or ""."""
    if off := drifted(math.exp(drift)):
        return off
    answer = judge(drift, half, MARGIN)
    if answer in ("faster", "slower"):
        return f"the baseline's A/A control, whose ratio is 1, measured {math.exp(drift):.3f} and came out {answer}"
    return ""


def drifted(control_ratio: float) -> str:
    """Return that an A/A control of the baseline is too far from 1, or ""."""
    if abs(control_ratio - 1) <= CONTROL:
        return ""
    return f"the baseline's A/A control, whose ratio is 1, measured {control_ratio:.3f}: more than {CONTROL:.0%} off"


def thinned(samples: Sequence[float], most: int = KEPT) -> tuple[float, ...]:
    """Return at most so many samples, evenly spaced: the same rounds for every arm of a cell."""
    count = len(samples)
    return tuple(samples) if count <= most else tuple(samples[i * count // most] for i in range(most))
