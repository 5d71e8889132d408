"""Measure the method's own false alarms on this machine, and how often it misses a planted slowdown of 5 %.

Each repetition is the whole method on three call sizes: the baseline beside a second copy of it and beside one with a
planted slowdown, in fresh processes, extended once where inconclusive. Beside it pytest-benchmark times the same three
functions as it comes.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attention_harness.benchmark import noise
from attention_harness.benchmark.self_check import planting, stock
from attention_harness.benchmark.self_check.planting import FIRST, SECOND, SLOWER
from attention_harness.benchmark.self_check.rates import PLANTED, SAME, STATISTICS, Trial
from attention_harness.benchmark.self_check.result import SelfCheck
from attention_harness.benchmark.workloads import Workload
from attention_harness.commands import arguments, console
from attention_harness.execution.machine import environment
from attention_harness.model.run_facts import RunFacts
from attention_harness.store import Writer, encoding, now

REPETITIONS = 10
FILE = "self_check.json"
_SECONDS = 60  # of one repetition, and twice that of the calibration: a first guess, until both were measured
_PAIRS = {SAME: (FIRST, SECOND), PLANTED: (SECOND, SLOWER)}  # pytest-benchmark's: each two that run side by side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    text = f"default {REPETITIONS}"
    parser.add_argument("--repetitions", type=arguments.count, default=REPETITIONS, metavar="N", help=text)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the order of the calls")
    arguments.add_out(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print; 0 when no alarm was false and at least 95 % of the planted slowdowns were found."""
    count, sizes = options.repetitions, planting.workloads()
    command = "python -m attention_harness " + shlex.join(sys.argv[1:])
    facts = RunFacts(command=command, started=now(), planned=0, environment=environment())
    writer = None if options.out is None else Writer.start(options.out, facts)
    console.line(
        f"bench: self-check, {count} repetitions on {len(sizes)} call sizes: {count * len(sizes)} comparisons of two "
        f"copies and as many with a planted {planting.SHARE:.0%}; about {_minutes((count + 2) * _SECONDS)} on a quiet "
        "machine"
    )
    began, trials = time.monotonic(), list[Trial]()
    with tempfile.TemporaryDirectory(prefix="harness-self-check-") as folder:
        turns = planting.calibrated(Path(folder), sizes, _show_calibration)
        slower = planting.by_length(sizes, turns)
        load = planting.write(Path(folder), {FIRST: {}, SECOND: {}, SLOWER: slower})
        for number in range(1, count + 1):
            trials += _repetition(Path(folder), load, sizes, number, options.seed)
            result = SelfCheck(facts, count, turns, trials, time.monotonic() - began)
            if writer:  # after each: a kill loses one repetition
                writer.write(FILE, result.document())
                finished = now() if number == count else None
                writer.update(self_check=tuple(result.text().split("\n")), finished=finished)
            left = result.seconds / (number + 2) * (count - number)
            console.line(f"bench: self-check {number} of {count}, {_minutes(left)} left; {_so_far(trials)}")
    print(encoding.document(result.document()) if options.json else result.text())
    if writer and not options.json:
        print(f"run directory: {options.out}\njson: {options.out / FILE}")
    return 0 if result.holds else 1


def _repetition(
    folder: Path, load: Sequence[Path], sizes: Sequence[Workload], number: int, seed: int
) -> Iterator[Trial]:
    """Yield the two comparisons of each size, by the whole method and by pytest-benchmark."""
    kinds, load_now = {SECOND: SAME, SLOWER: PLANTED}, noise.load()
    rows = planting.compared(kinds, sizes, load, lambda *step: None, seed=seed + number, extend=True)
    theirs = stock.timed(folder, load, [one.case for one in sizes], (FIRST, SECOND, SLOWER))
    for row in rows:
        if row.implementation in kinds:
            kind = kinds[row.implementation]
            one, other = (theirs[row.case, arm] for arm in _PAIRS[kind])
            ratios = {statistic: other[statistic] / one[statistic] for statistic in STATISTICS}
            yield Trial.of(row, kind, number, load_now, ratios)


def _minutes(seconds: float) -> str:
    return f"{max(1, math.ceil(seconds / 60))} min"


def _show_calibration(stage: str, done: int, total: int) -> None:
    if "preparing" in stage:
        console.line(f"bench: calibrating the plant: {stage}")


def _so_far(trials: Sequence[Trial]) -> str:
    alarms = sum(trial.answer in ("faster", "slower") for trial in trials if trial.kind == SAME)
    found = sum(trial.answer == "slower" for trial in trials if trial.kind == PLANTED)
    return f"{alarms} false alarms, {found} of {len(trials) // 2} planted found"
