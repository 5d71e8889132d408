"""How often the method errs on this machine: on two copies of one attention, and on a third that does further work.

A comparison of two copies should not be called different (a false alarm), and the planted slowdown should be called
slower (found). What is withheld - inconclusive, unreliable - is neither, and counted by itself.

All three are files of the same text, loaded like anybody's implementation, each with its own closure and memory. The
further work is a loop that does nothing, since its turns add time in steps of nanoseconds: any operator of torch costs
a twentieth of the shortest call by being called. How many turns is calibrated by the method itself on this machine: so
many that they take several times the wanted share are measured beside the plain copy, and time is theirs in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

from msgspec import Struct

from attention_harness import registry
from attention_harness.benchmark import noise
from attention_harness.benchmark.campaign import Campaign, measure
from attention_harness.benchmark.schedule import Progress
from attention_harness.benchmark.statistics import LEVEL
from attention_harness.benchmark.workloads import Workload
from attention_harness.model import units
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment
from attention_harness.model.student import interval

FIRST, SECOND, SLOWER = "first_copy", "second_copy", "slower_copy"
SAME, PLANTED = "A/A", "planted"
KINDS = {SECOND: SAME, SLOWER: PLANTED}
SHARE = 0.05  # the planted slowdown
FOUND_LEAST = 0.95  # of the planted slowdowns: the promise, beside no false alarm at all
SIZES = {"0.2 ms": (4, 128), "2 ms": (10, 256), "20 ms": (20, 512)}  # name -> heads and length, for one core of 2025
_CLOSELY = {"passes": 5, "time_per_arm_s": 0.5}
_PROBED = 8  # times SHARE: what disturbs a measurement by a hundredth moves the plant by as much of itself
_TURN_S = 15e-9  # of a loop in CPython 3.11, roughly

_SOURCE = '''\
"""The formula, with further work where there are turns."""

from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",))
TURNS = {turns}  # length -> turns of a loop: the planted work


def prepare(case):
    turns, width = TURNS.get(case.sizes["Lk"], 0), case.sizes["D"]

    def plain(query, key, value):
        return (query @ key.mT / width**0.5).softmax(-1) @ value

    def slower(query, key, value):
        for _ in range(turns):
            pass
        return (query @ key.mT / width**0.5).softmax(-1) @ value

    return slower if turns else plain
'''


# --- what is compared


def workloads() -> tuple[Workload, ...]:
    """Return one workload for each call size: the plain formula."""
    return tuple(Workload(name, "the self-check's own size", _case(*shape).id) for name, shape in SIZES.items())


def _case(heads: int, length: int) -> Case:
    sizes = {"B": 1, "H": heads, "Hk": heads, "Lq": length, "Lk": length, "D": 64, "Dv": 64}
    return Case("scaled_dot_product", sizes)


def write(folder: Path, turns: Mapping[str, Mapping[str, int]]) -> list[Path]:
    """Write a file for each name, with the turns of its further work by call size; return the paths."""
    paths = []
    for name, by_size in turns.items():
        by_length = {SIZES[size][1]: count for size, count in by_size.items()}
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(_SOURCE.format(turns=by_length), encoding="utf-8")
    return paths


def calibrated(folder: Path, progress: Progress) -> dict[str, int]:
    """Return, by call size, the turns of further work that take SHARE of the plain call."""
    probe = {size: max(1, round(_PROBED * SHARE * float(size.removesuffix(" ms")) * 1e-3 / _TURN_S)) for size in SIZES}
    load = write(folder, {FIRST: {}, "probe": probe})
    rows = {row.workload: row for row in _compared(["probe"], load, progress, seed=-1, **_CLOSELY)}
    return {size: scaled(turns, rows[size]) for size, turns in probe.items()}


def scaled(turns: int, row: Measurement) -> int:
    """Return the turns that take SHARE, where so many were measured beside the plain copy."""
    if row.ratio is None:
        raise HarnessError(f"self-check: the plant could not be calibrated on {row.case}: {row.reason}")
    if row.ratio - 1 <= SHARE:
        raise HarnessError(
            f"self-check: {turns} turns of a loop measured {row.ratio - 1:+.1%} and not several times {SHARE:.0%}: "
            "this machine is too disturbed to plant a slowdown of known size; try again when it is quieter"
        )
    return max(1, round(turns * SHARE / (row.ratio - 1)))


def _compared(names: Iterable[str], load: Sequence[Path], progress: Progress, **effort: Any) -> Iterator[Measurement]:
    """Yield the measurements of copies beside the first one. effort: fields of the campaign"""
    known = registry.implementations(load)
    campaign = Campaign(
        implementations=tuple(known[name] for name in (FIRST, *names)),
        workloads=workloads(),
        baseline=FIRST,
        load=tuple(load),
        **effort,
    )
    # It is our own text, whose numbers are not in question.
    rows = measure(campaign, lambda implementation, case, direction: "", progress)
    return (row for row in rows if row.implementation != FIRST)


class Trial(Struct, frozen=True):
    """One comparison whose truth is known. kind: A/A of two copies, or planted; load: when the repetition began."""

    repetition: int
    size: str
    kind: str
    load: float | None
    answer: str
    reason: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    control_ratio: float | None = None
    pass_ratios: tuple[float, ...] = ()


def repetition(number: int, load: Sequence[Path], seed: int) -> Iterator[Trial]:
    """Yield the two comparisons of each call size, by the whole method."""
    load_now = noise.load()
    for row in _compared(KINDS, load, lambda *step: None, seed=seed + number, extend=True):
        yield Trial(
            number,
            row.workload,
            KINDS[row.implementation],
            load_now,
            row.answer or row.status,
            row.reason,
            row.ratio,
            row.low,
            row.high,
            row.control_ratio,
            row.pass_ratios,
        )


# --- what came of it


class Rate(Struct, frozen=True):
    """So many of so many, with the 95 % interval of the share, and how many were withheld."""

    kind: str
    size: str
    count: int
    of: int
    withheld: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.count} of {self.of} [{self.low:.1%}, {self.high:.1%}]"


class Plant(Struct, frozen=True):
    """How large a planted slowdown really was, over all repetitions: a fraction, with a 95 % interval."""

    size: str
    turns: int
    share: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.share is None:
            return f"{self.size} not measured"
        around = "" if self.low is None else f" [{self.low:+.1%}, {self.high:+.1%}]"
        return f"{self.size} {self.share:+.1%}{around}"


class SelfCheck(Struct, frozen=True):
    """What was measured so far: the content of `self_check.json`."""

    environment: Environment
    seconds: float
    holds: bool
    rates: tuple[Rate, ...]
    plants: tuple[Plant, ...]
    trials: tuple[Trial, ...]

    def text(self) -> str:
        """Return the machine, the rates by call size, and how large the plants really were."""
        processor = self.environment.processor.model if self.environment.processor else "an unknown processor"
        loads = [one.load for one in self.trials if one.load is not None]
        busy = f", load {min(loads):.1f} to {max(loads):.1f}" if loads else ""
        by_size: dict[str, list[Rate]] = {}
        for rate in self.rates:
            by_size.setdefault(rate.size, []).append(rate)
        withheld = ", ".join(f"{rate.withheld} {rate.kind}" for rate in by_size.get("all", ()))
        return "\n".join(
            [
                f"self-check on {processor}, {self.environment.cores} cores{busy}: {len(self.trials) // 2} comparisons "
                f"of each kind in {units.duration(self.seconds)}; [95 % intervals]",
                f"{'size of a call':16} {'A/A: called different':>26}  {'planted: found slower':>26}",
                *(f"{size:16} " + "  ".join(f"{rate!s:>26}" for rate in found) for size, found in by_size.items()),
                f"withheld (inconclusive or unreliable; neither alarm nor found): {withheld}",
                "planted, as measured over all repetitions: " + "; ".join(map(str, self.plants)),
                "the method keeps its promise here: no false alarm, at least 95 % found"
                if self.holds
                else "the method does NOT keep its promise here (no false alarm, at least 95 % found)",
            ]
        )


def summary(environment: Environment, seconds: float, turns: Mapping[str, int], trials: Sequence[Trial]) -> SelfCheck:
    """Return what the trials come to. turns: of the planted work, by call size"""
    found = tuple(rates(trials))
    plants = tuple(_plant(size, count, trials) for size, count in turns.items())
    return SelfCheck(environment, round(seconds, 1), _holds(found), found, plants, tuple(trials))


def rates(trials: Sequence[Trial]) -> Iterator[Rate]:
    """Yield the rates of false alarms and of plants found, over all call sizes and for each."""
    for size in ("all", *dict.fromkeys(trial.size for trial in trials)):
        for kind, hits in ((SAME, ("faster", "slower")), (PLANTED, ("slower",))):
            answers = [trial.answer for trial in trials if trial.kind == kind and size in ("all", trial.size)]
            if answers:
                count = sum(answer in hits for answer in answers)
                withheld = sum(answer not in ("faster", "slower", "same") for answer in answers)
                yield Rate(kind, size, count, len(answers), withheld, *wilson(count, len(answers)))


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a binomial share: it stays inside [0, 1] also for 0 of n. Wilson 1927."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, spread = count / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if count == 0 else low), (1.0 if count == of else high)


def _holds(found: Iterable[Rate]) -> bool:
    """Return whether the method keeps its promise: no false alarm, and enough of the planted slowdowns found."""
    overall = {rate.kind: rate for rate in found if rate.size == "all"}
    if overall.keys() != {SAME, PLANTED}:
        return False
    return overall[SAME].count == 0 and overall[PLANTED].count >= FOUND_LEAST * overall[PLANTED].of


def _plant(size: str, turns: int, trials: Iterable[Trial]) -> Plant:
    logs = [math.log(one.ratio) for one in trials if (one.kind, one.size) == (PLANTED, size) and one.ratio is not None]
    if not logs:
        return Plant(size, turns)
    middle, half = interval(logs, LEVEL)
    low, high = (math.expm1(middle + sign * half) if math.isfinite(half) else None for sign in (-1, 1))
    return Plant(size, turns, math.expm1(middle), low, high)
