"""Measure the method's own false alarms on this machine, and how often it misses a planted slowdown of 5 %.

Each repetition is the whole method on three call sizes: the baseline beside a second copy of it and beside one with a
planted slowdown, in fresh processes, extended once where inconclusive. Beside it pytest-benchmark times the same three
functions as it comes.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_harness.benchmark import statistics as judging
from attention_harness.benchmark.self_check import planting, stock
from attention_harness.benchmark.self_check.planting import FIRST, SECOND, SLOWER
from attention_harness.benchmark.self_check.rates import PLANTED, SAME, STATISTICS, Trial, holds, rates, table
from attention_harness.benchmark.workloads import Workload
from attention_harness.commands import arguments, console
from attention_harness.execution.machine import environment
from attention_harness.model.case import Case
from attention_harness.model.measurement import Measurement
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
    """Measure and tell; 0 when no alarm was false and at least 95 % of the planted slowdowns were found."""
    count = options.repetitions
    facts = _facts()
    writer = None if options.out is None else Writer.start(options.out, facts)
    chosen = planting.workloads()
    minutes = _minutes((count + 2) * _SECONDS)
    console.line(
        f"bench: self-check, {count} repetitions on {len(chosen)} call sizes: {count * len(chosen)} comparisons of two "
        f"copies and as many with a planted {planting.SHARE:.0%}; about {minutes} on a quiet machine"
    )
    began = time.monotonic()
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="harness-self-check-") as folder:
        turns = planting.calibrated(Path(folder), chosen, _progress("calibrating the plant"))
        load = planting.write(Path(folder), {FIRST: {}, SECOND: {}, SLOWER: turns})
        for number in range(1, count + 1):
            trials += _repetition(Path(folder), load, chosen, number, options.seed)
            document = _document(facts, count, turns, chosen, trials, time.monotonic() - began)
            if writer:  # after each: a kill loses one repetition
                writer.write(FILE, document)
                writer.update(self_check=told(document).split("\n"), finished=now() if number == count else None)
            left = (time.monotonic() - began) / (number + 2) * (count - number)
            console.line(f"bench: self-check {number} of {count}, {_minutes(left)} left; {_so_far(trials)}")
    print(encoding.document(document) if options.json else told(document))
    if writer and not options.json:
        print(f"run directory: {options.out}\njson: {options.out / FILE}")
    return 0 if holds(trials) else 1


def _facts() -> RunFacts:
    command = "python -m attention_harness " + shlex.join(sys.argv[1:])
    return RunFacts(command=command, started=now(), planned=0, environment=environment())


def _minutes(seconds: float) -> str:
    return f"{max(1, math.ceil(seconds / 60))} min"


def _progress(what: str) -> Any:
    return lambda stage, done, total: console.line(f"bench: {what}: {stage}") if "preparing" in stage else None


def _repetition(
    folder: Path, load: Sequence[Path], chosen: Sequence[Workload], number: int, seed: int
) -> Iterator[Trial]:
    """Yield the two comparisons of each size, by the whole method and by pytest-benchmark."""
    kinds, load_now = {SECOND: SAME, SLOWER: PLANTED}, os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    rows = planting.compared(kinds, chosen, load, lambda *step: None, seed=seed + number, extend=True)
    theirs = stock.timed(folder, load, [one.case for one in chosen], (FIRST, SECOND, SLOWER))
    for row in rows:
        if row.implementation in kinds:
            kind = kinds[row.implementation]
            one, other = (theirs[row.case, arm] for arm in _PAIRS[kind])
            ratios = {statistic: other[statistic] / one[statistic] for statistic in STATISTICS}
            yield _trial(row, kind, number, load_now, ratios)


def _trial(row: Measurement, kind: str, number: int, load: float | None, ratios: dict[str, float]) -> Trial:
    return Trial(
        repetition=number,
        size=row.workload,
        kind=kind,
        answer=row.answer or row.status,
        reason=row.reason,
        ratio=row.ratio,
        low=row.low,
        high=row.high,
        clock=row.clock,
        preempted=row.preempted,
        sentinel_ratio=row.sentinel_ratio,
        passes=len(row.wall_s),
        by_pass=row.pass_ratios,
        load=load,
        stock=ratios,
    )


def _so_far(trials: Sequence[Trial]) -> str:
    alarms = sum(trial.answer in ("faster", "slower") for trial in trials if trial.kind == SAME)
    found = sum(trial.answer == "slower" for trial in trials if trial.kind == PLANTED)
    return f"{alarms} false alarms, {found} of {len(trials) // 2} planted found"


def _document(
    facts: RunFacts,
    repetitions: int,
    turns: Mapping[int, int],
    chosen: Sequence[Workload],
    trials: Sequence[Trial],
    seconds: float,
) -> dict[str, Any]:
    return {
        "command": facts.command,
        "started": facts.started,
        "environment": encoding.plain(facts.environment),
        "repetitions": repetitions,
        "seconds": round(seconds, 1),
        "finished": len(trials) == repetitions * len(chosen) * 2,
        "holds": holds(trials),
        "realised": [
            realised(trials, one.name) | {"turns": turns[Case.from_id(one.case).sizes["Lk"]]} for one in chosen
        ],
        "rates": [rate.to_json() for rate in rates(trials)],
        "trials": [trial.to_json() for trial in trials],
    }


def realised(trials: Sequence[Trial], size: str) -> dict[str, Any]:
    """Return the planted slowdown of a size as all its repetitions measured it, with a 95 % interval."""
    logs = [math.log(t.ratio) for t in trials if t.kind == PLANTED and t.size == size and t.ratio is not None]
    if not logs:
        return {"size": size, "share": None, "low": None, "high": None}
    middle, half = judging.interval(logs, judging.LEVEL)
    known = math.isfinite(half)
    return {
        "size": size,
        "share": math.expm1(middle),
        "low": math.expm1(middle - half) if known else None,
        "high": math.expm1(middle + half) if known else None,
    }


def told(document: Mapping[str, Any]) -> str:
    """Return a self-check as text: the machine, the table of rates, and how large the plants really were."""
    from attention_harness.benchmark.self_check.rates import Rate

    machine, trials = document["environment"], document["trials"]
    loads = [trial["load"] for trial in trials if trial["load"] is not None]
    busy = f", load {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    lines = [
        f"self-check on {machine['processor']['model']}, {machine['cores']} cores{busy}: "
        f"{len(trials) // 2} comparisons of each kind in {document['seconds'] / 60:.0f} min; [95 % intervals]",
        table([Rate(**rate) for rate in document["rates"]]),
        "planted, as measured over all repetitions: " + "; ".join(map(_plant, document["realised"])),
        "the method keeps its promise here: no false alarm, at least 95 % found"
        if document["holds"]
        else "the method does NOT keep its promise here (no false alarm, at least 95 % found)",
    ]
    return "\n".join(lines)


def _plant(one: Mapping[str, Any]) -> str:
    if one["share"] is None:
        return f"{one['size']} not measured"
    around = "" if one["low"] is None else f" [{one['low']:+.1%}, {one['high']:+.1%}]"
    return f"{one['size']} {one['share']:+.1%}{around}"
