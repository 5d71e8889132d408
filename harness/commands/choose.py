"""Rank the conforming implementations for a mechanism and shapes; exit 1 when none can be recommended."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attention_harness.benchmark import campaign as benchmark
from attention_harness.benchmark import gate, noise
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.gate import Gate
from attention_harness.benchmark.probing import Look, look
from attention_harness.benchmark.schedule import expected_s
from attention_harness.benchmark.timing import ROUNDS
from attention_harness.benchmark.workloads import Workload
from attention_harness.commands import arguments, choose_problem, console, gating
from attention_harness.commands.choice import Choice, over
from attention_harness.commands.run_setup import implementation_facts, writer_of
from attention_harness.execution import declarations
from attention_harness.execution.machine import environment
from attention_harness.model import units
from attention_harness.model.measurement import FAR_BEHIND, Measurement
from attention_harness.model.pass_records import Record
from attention_harness.registry import Declared
from attention_harness.report.compare.changes import incomparable
from attention_harness.store import Writer, encoding, load, now

FAR = 10.0  # what takes so many times the fastest's time in a first look is not timed any closer
_SLOW_S, _FEW_ROUNDS = 2.0, 5  # rounds that take so long are few; the passes stay
_LOOK_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    choose_problem.add_arguments(parser)
    parser.add_argument("--backward", action="store_true", help="forward and backward as one call")
    text = "most that one call may add: 2GiB"
    parser.add_argument("--memory", dest="call_memory", type=arguments.number_of_bytes, metavar="SIZE", help=text)
    parser.add_argument("--threads", type=arguments.count, default=1, help="threads of one call; default 1")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="consider this implementation")
    text = "take what this run directory has, if it is of this machine, these versions and these files"
    parser.add_argument("--reuse", type=Path, metavar="DIR", help=text)
    arguments.add(parser, "--out", "--load", "--json")


def run(options: argparse.Namespace) -> int:
    """Rank what conforms on a problem; 0 when something can be recommended."""
    case = choose_problem.case_of(options)
    direction = "forward_backward" if options.backward else "forward"
    choice = Choice(case, choose_problem.gated_on(case), direction, options.threads, options.call_memory)
    every = declarations.implementations(options.load)
    candidates = declarations.select(options.only, options.load) if options.only else list(every.values())
    rows = _reused(choice, candidates, options.reuse) if options.reuse else None
    if rows is None:
        rows = _measured(choice, candidates, options)
    choice.rank(rows)
    print(encoding.document(choice.document()) if options.json else choice.text())
    return 0 if choice.places else 1


def _reused(choice: Choice, candidates: Sequence[Declared], directory: Path) -> list[Measurement] | None:
    """Return the rows of a run directory, or None with a line that says why they do not serve."""
    run = load(directory)
    cell = (choice.case.id, choice.direction, choice.threads)
    rows = [row for row in run.measurements if (row.case, row.direction, row.threads) == cell]
    measured, files = {row.implementation for row in rows}, run.facts.implementations
    missing = [one.name for one in candidates if one.name not in measured]
    changed = [one.name for one in candidates if files.get(one.name) != implementation_facts(one)]
    elsewhere = incomparable(run.facts.environment, environment())
    reasons = {
        "it was not finished": not run.facts.finished,
        f"it was measured elsewhere: {'; '.join(elsewhere)}": elsewhere,
        f"it does not have {choice.case.id} of {', '.join(missing)}": missing,
        f"{', '.join(changed)} changed since": changed,
    }
    if why := next((reason for reason, holds in reasons.items() if holds), ""):
        console.line(f"choose: nothing of {directory} is reused: {why}")
        return None
    choice.source = f"reused from {directory}"
    return rows


def _measured(choice: Choice, candidates: Sequence[Declared], options: argparse.Namespace) -> list[Measurement]:
    """Return the measurements of what conforms and is not far behind; say of the others why they are out."""
    taking, cell = _taking(choice, candidates), (choice.gated, choice.direction)
    items = gate.items(taking, [cell])
    writer, _ = writer_of(options, candidates, items)
    console.line(f"choose: checking {len(taking)} implementations on {choice.gated.id}")
    verdicts = gating.check(items, Gate(), options.load, writer)
    choice.out |= {one.name: ("refused", why) for one in taking if (why := verdicts(one, *cell))}
    looks = _looks(choice, [one for one in taking if one.name not in choice.out], options)
    if writer:
        writer.add(*_not_timed(choice))
    rows, records = [], list[Record]()
    chosen = [one for one in taking if one.name in looks]
    for row in _timed(choice, chosen, looks, options, records, writer) if looks else ():
        if writer:
            writer.add(row)
        rows.append(row)
    if rows:
        choice.noise = noise.summary(rows, records).line
    if writer:
        writer.update(finished=now())
    return rows


def _taking(choice: Choice, candidates: Sequence[Declared]) -> list[Declared]:
    """Return what takes the case here; the others are out."""
    taking = []
    for one in candidates:
        if why := one.refuses(choice.case):
            choice.out[one.name] = ("unsupported", why)
        elif why := one.unavailable():
            choice.out[one.name] = ("unavailable", why)
        elif choice.direction != "forward" and not one.capabilities.gradients:
            choice.out[one.name] = ("unsupported", "gradients not declared")
        else:
            taking.append(one)
    return taking


def _looks(choice: Choice, conforming: Sequence[Declared], options: argparse.Namespace) -> dict[str, Look]:
    """Return a first look at each, without those that fail, need too much memory, or are far behind."""
    found: dict[str, Look] = {}
    for one in conforming:
        console.line(f"choose: a first look at {one.name}")
        seen = look(one.name, tuple(options.load), choice.case, choice.direction, choice.threads, _LOOK_S)
        if seen.reason:
            choice.out[one.name] = ("error", seen.reason)
        elif why := over(seen.peak_bytes, choice.memory):
            choice.out[one.name] = ("memory", why)
        else:
            found[one.name] = seen
    fastest = min(found, key=lambda name: found[name].seconds, default="")
    for name, seen in list(found.items()):
        if seen.seconds > FAR * found[fastest].seconds:
            times = f"{units.duration(seen.seconds)} against {units.duration(found[fastest].seconds)} of {fastest}"
            choice.out[name] = (FAR_BEHIND, f"more than {FAR:g} times the fastest's time in a first look: {times}")
            del found[name]
    return found


def _timed(
    choice: Choice,
    chosen: Sequence[Declared],
    looks: Mapping[str, Look],
    options: argparse.Namespace,
    records: list[Record],
    writer: Writer | None,
) -> Iterator[Measurement]:
    """Yield the whole method's measurements; the fastest of the first look is the baseline."""
    baseline = min(looks, key=lambda name: looks[name].seconds)
    round_s = sum(seen.seconds for seen in looks.values()) + looks[baseline].seconds
    gated_on = "" if choice.gated == choice.case else choice.gated.on("cpu").id
    campaign = Campaign(
        implementations=tuple(chosen),
        workloads=(Workload("chosen", "the problem of choose", choice.case.on("cpu").id, gated_on=gated_on),),
        baseline=baseline,
        devices=(choice.case.device,),
        directions=(choice.direction,),
        threads=(choice.threads,),
        rounds=ROUNDS if round_s < _SLOW_S else _FEW_ROUNDS,
        extend=True,
        load=tuple(options.load),
    )
    minutes = math.ceil(campaign.passes * expected_s(campaign, campaign.cells()) / 60)
    console.line(
        f"choose: timing {len(chosen)} implementations side by side, {campaign.passes} passes of {campaign.rounds} "
        f"rounds or more: about {minutes} min, at most twice that where the answer is not clear"
    )
    with console.progress("choose") as show:
        # what does not conform is out already
        yield from benchmark.measure(campaign, lambda implementation, case, direction: "", show, records, writer)


def _not_timed(choice: Choice) -> list[Measurement]:
    """Return the measurements of what is out, so that the run directory can be reused.

    Another limit of memory needs a new look at what this one left out.
    """
    where = (choice.case.mechanism, "chosen", choice.case.id, choice.threads)
    return [
        Measurement(name, *where, status, reason, direction=choice.direction)  # type: ignore[arg-type]
        for name, (status, reason) in choice.out.items()
        if status != "memory"
    ]
