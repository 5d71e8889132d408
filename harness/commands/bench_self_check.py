"""Measure the method's own false alarms on this machine, and how often it misses a planted slowdown of 5 %.

Each repetition is the whole method on three call sizes: the baseline beside a second copy of it and beside one with a
planted slowdown, in fresh processes, extended once where inconclusive.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attention_harness.benchmark import self_check
from attention_harness.benchmark.self_check import FIRST, PLANTED, SAME, SECOND, SLOWER, Trial
from attention_harness.commands import arguments, console
from attention_harness.commands.run_setup import run_facts
from attention_harness.store import Writer, encoding, now

REPETITIONS = 10
FILE = "self_check.json"
_SECONDS = 60  # of one repetition, and twice that of the calibration: a first guess, until both were measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    text = f"default {REPETITIONS}"
    parser.add_argument("--repetitions", type=arguments.count, default=REPETITIONS, metavar="N", help=text)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the order of the calls")
    arguments.add(parser, "--out", "--json")


def run(options: argparse.Namespace) -> int:
    """Measure and print; 0 when no alarm was false and at least 95 % of the planted slowdowns were found."""
    count, sizes = options.repetitions, len(self_check.SIZES)
    facts = run_facts(tier="", plan="")
    writer = None if options.out is None else Writer.start(options.out, facts)
    console.line(
        f"bench: self-check, {count} repetitions on {sizes} call sizes: {count * sizes} comparisons of two copies and "
        f"as many with a planted {self_check.SHARE:.0%}; about {_minutes((count + 2) * _SECONDS)} on a quiet machine"
    )
    began, trials = time.monotonic(), list[Trial]()
    with tempfile.TemporaryDirectory(prefix="harness-self-check-") as folder:
        turns = self_check.calibrated(Path(folder), _show_calibration)
        load = self_check.write(Path(folder), {FIRST: {}, SECOND: {}, SLOWER: turns})
        for number in range(1, count + 1):
            trials += self_check.repetition(number, load, options.seed)
            result = self_check.summary(facts.environment, time.monotonic() - began, turns, trials)
            if writer:  # after each: a kill loses one repetition
                writer.write(FILE, result)
                finished = now() if number == count else None
                writer.update(self_check=tuple(result.text().split("\n")), finished=finished)
            left = result.seconds / (number + 2) * (count - number)
            console.line(f"bench: self-check {number} of {count}, {_minutes(left)} left; {_so_far(trials)}")
    print(encoding.document(result) if options.json else result.text())
    if writer and not options.json:
        print(f"run directory: {options.out}\njson: {options.out / FILE}")
    return 0 if result.holds else 1


def _minutes(seconds: float) -> str:
    return f"{max(1, math.ceil(seconds / 60))} min"


def _show_calibration(stage: str, done: int, total: int) -> None:
    if stage.endswith("preparing"):  # once for each pass
        console.line(f"bench: calibrating the plant: {stage}")


def _so_far(trials: Sequence[Trial]) -> str:
    alarms = sum(trial.answer in ("faster", "slower") for trial in trials if trial.kind == SAME)
    found = sum(trial.answer == "slower" for trial in trials if trial.kind == PLANTED)
    return f"{alarms} false alarms, {found} of {len(trials) // 2} planted found"
