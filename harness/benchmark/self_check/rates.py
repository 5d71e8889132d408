"""Counts of answers whose truth is known -> rates with intervals, and their table: pure functions.

A comparison of two copies should not be called different (a false alarm), and a planted slowdown should be called
slower (found). What is withheld - inconclusive, unreliable - is neither, and counted by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from attention_harness.model.measurement import Measurement

SAME, PLANTED = "A/A", "planted"
STATISTICS = ("min", "median", "mean")
FOUND_LEAST = 0.95  # of the planted slowdowns: the promise, beside no false alarm at all


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison whose truth is known.

    kind                   A/A: two copies; planted: the second one does further work
    ratio, low, high       time over the other's, with its interval
    passes                 fresh processes that it took
    by_pass                the ratio of each
    load                   runnable processes when it began
    stock                  the same two by pytest-benchmark with its defaults: statistic -> ratio
    """

    repetition: int
    size: str
    kind: str
    answer: str
    reason: str
    ratio: float | None
    low: float | None
    high: float | None
    clock: str
    preempted: float | None
    control_ratio: float | None
    passes: int
    by_pass: tuple[float, ...] = ()
    load: float | None = None
    stock: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Measurement, kind: str, repetition: int, load: float | None, stock: dict[str, float]) -> Trial:
        """Return the trial that a measurement is."""
        return cls(
            repetition=repetition,
            size=row.workload,
            kind=kind,
            answer=row.answer or row.status,
            reason=row.reason,
            ratio=row.ratio,
            low=row.low,
            high=row.high,
            clock=row.clock,
            preempted=row.preempted,
            control_ratio=row.control_ratio,
            passes=len(row.wall_s),
            by_pass=row.pass_ratios,
            load=load,
            stock=stock,
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many, with the 95 % interval of the share, and how many were withheld."""

    rule: str
    kind: str
    size: str
    count: int
    of: int
    withheld: int
    low: float
    high: float


def wilson(count: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a binomial share: it stays inside [0, 1] also for 0 of n. Wilson 1927."""
    if not 0 <= count <= of or of < 1:
        raise ValueError(f"{count} of {of} is no share")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = count / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if count == 0 else low), (1.0 if count == of else high)


def rates(trials: Sequence[Trial]) -> list[Rate]:
    """Return the rates of our answers and of pytest-benchmark's figures, over all sizes and for each."""
    found = []
    for size in ("all", *dict.fromkeys(trial.size for trial in trials)):
        here = [trial for trial in trials if size in ("all", trial.size)]
        for kind in (SAME, PLANTED):
            found += list(_rates([trial for trial in here if trial.kind == kind], kind, size))
    return found


def _rates(trials: Sequence[Trial], kind: str, size: str) -> Iterable[Rate]:
    hits = ("faster", "slower") if kind == SAME else ("slower",)
    withheld = sum(trial.answer not in ("faster", "slower", "same") for trial in trials)
    yield from _rate("bench", kind, size, trials, lambda trial: trial.answer in hits, withheld)
    stock = [trial for trial in trials if trial.stock]
    for statistic in STATISTICS:
        for limit in (1.05, 1.03) if kind == SAME else (1.03,):
            rule = f"pytest-benchmark {statistic}, {limit - 1:.0%}"
            yield from _rate(rule, kind, size, stock, _beyond(statistic, limit, kind))


def _beyond(statistic: str, limit: float, kind: str) -> Callable[[Trial], bool]:
    if kind == PLANTED:
        return lambda trial: trial.stock[statistic] > limit
    return lambda trial: max(trial.stock[statistic], 1 / trial.stock[statistic]) > limit


def _rate(
    rule: str, kind: str, size: str, trials: Sequence[Trial], hit: Callable[[Trial], bool], withheld: int = 0
) -> Iterable[Rate]:
    if trials:
        count = sum(map(hit, trials))
        yield Rate(rule, kind, size, count, len(trials), withheld, *wilson(count, len(trials)))


def holds(trials: Sequence[Trial]) -> bool:
    """Return whether the method keeps its promise: no false alarm, and enough of the planted slowdowns found."""
    ours = {rate.kind: rate for rate in rates(trials) if (rate.rule, rate.size) == ("bench", "all")}
    return (
        {SAME, PLANTED} == set(ours) and ours[SAME].count == 0 and ours[PLANTED].count >= FOUND_LEAST * ours[PLANTED].of
    )


def table(found: Sequence[Rate]) -> str:
    """Return the rates as text: a line for each rule and size."""
    lines = [f"{'':44} {'A/A: called different':>26}  {'planted: found slower':>26}"]
    by_key = {(rate.rule, rate.size, rate.kind): rate for rate in found}
    for rule, size in dict.fromkeys((rate.rule, rate.size) for rate in found):
        if size != "all" and rule != "bench":
            continue
        name = rule if size == "all" else f"  {size}"
        name += " apart" if rule != "bench" else ""
        cells = [_cell(by_key.get((rule, size, kind))) for kind in (SAME, PLANTED)]
        lines.append(f"{name:44} {cells[0]:>26}  {cells[1]:>26}")
    withheld = [by_key[key].withheld for kind in (SAME, PLANTED) if (key := ("bench", "all", kind)) in by_key]
    lines.append(
        "withheld by bench (inconclusive or unreliable; neither alarm nor found): "
        + ", ".join(f"{count} {kind}" for count, kind in zip(withheld, (SAME, PLANTED)))
    )
    return "\n".join(lines)


def _cell(rate: Rate | None) -> str:
    return "" if rate is None else f"{rate.count} of {rate.of} [{rate.low:.1%}, {rate.high:.1%}]"
