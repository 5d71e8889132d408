"""Time what conforms, side by side with a baseline, over the workloads."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from attention_harness import registry
from attention_harness.benchmark import campaign as benchmark
from attention_harness.benchmark import estimate, gate, noise, workloads
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.pass_log import Kept
from attention_harness.benchmark.recorder import document
from attention_harness.benchmark.statistics import FIRST_LOOK, LEVEL
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.commands import arguments, console
from attention_harness.commands.gating import take
from attention_harness.commands.run_setup import writer_of
from attention_harness.execution.machine import cuda_devices, environment
from attention_harness.execution.plan import Item
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import DIRECTIONS, Measurement
from attention_harness.model.run_facts import BenchmarkPlan
from attention_harness.registry import Implementation
from attention_harness.store import Writer, encoding, now


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_matrix_arguments(parser)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few workloads, forward in float32, 3 passes")
    size.add_argument("--full", action="store_true", help="all workloads, models' own lengths and the whole sweep too")
    parser.add_argument("--baseline", default="eager", metavar="NAME", help="what the others are compared with")
    text = "no further passes of what is inconclusive beyond; the first ones are always made"
    parser.add_argument("--minutes", type=arguments.minutes, metavar="M", help=text)
    arguments.add_out(parser, resume=True)
    arguments.add_json(parser)


def add_matrix_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what names the cells of a matrix, here and for `bench against`."""
    arguments.add_implementations(parser)
    parser.add_argument("--workload", action="append", default=[], metavar="NAME", help="only this workload")
    text = "the workloads' own if not given"
    parser.add_argument("--dtype", type=arguments.dtypes, default=(), metavar="D[,D]", help=text)
    parser.add_argument("--direction", choices=("forward", "forward_backward", "both"), default="", help=text)
    text = "threads of one call; default 1"
    parser.add_argument("--threads", type=arguments.counts, default=(1,), metavar="N[,N]", help=text)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the order of the calls")
    arguments.add_memory(parser)


@dataclass(frozen=True)
class Campaign:
    """What the arguments ask for."""

    entrants: list[Implementation]
    workloads: list[Workload]
    dtypes: tuple[str, ...]
    directions: tuple[str, ...]
    threads: tuple[int, ...]
    devices: tuple[str, ...]
    passes: int
    extend: bool

    @classmethod
    def of(cls, options: argparse.Namespace) -> Campaign:
        """Return the campaign of a command line."""
        chosen = registry.select(options.names, options.load)
        if options.baseline not in [implementation.name for implementation in chosen]:
            chosen = [*registry.select([options.baseline], options.load), *chosen]
        matrix = workloads.quick if options.quick else workloads.full if options.full else workloads.default
        named = workloads.select(options.workload) if options.workload else matrix()
        directions = {"": (), "both": DIRECTIONS}.get(options.direction, (options.direction,))
        return cls(
            chosen,
            [workload for workload in named if _wanted(workload, options)],
            ("float32",) if options.quick and not options.dtype else tuple(options.dtype),
            ("forward",) if options.quick and not directions else directions,
            tuple(options.threads),
            ("cpu", "cuda") if cuda_devices() else ("cpu",),
            benchmark.QUICK_PASSES if options.quick else benchmark.PASSES,
            not options.quick,
        )

    def cells(self) -> list[Cell]:
        """Return the cells, empty yet."""
        level = FIRST_LOOK if self.extend else LEVEL
        return benchmark.planned(self.workloads, self.dtypes, self.devices, self.directions, self.threads, level)

    def plan(self, options: argparse.Namespace) -> BenchmarkPlan:
        """Return what has to agree for a run to be gone on with."""
        return BenchmarkPlan(
            entrants=tuple(implementation.name for implementation in self.entrants),
            cells=tuple(f"{cell.workload.name} {cell.id} {cell.threads}" for cell in self.cells()),
            passes=self.passes,
            extend=self.extend,
            baseline=options.baseline,
            seed=options.seed,
            time_per_arm_s=benchmark.TIME_PER_ARM,
        )


def run(options: argparse.Namespace) -> int:
    """Check what is to be timed, time what conforms, keep and tell; 0 when something ran and all conforms.

    A failure that is declared as known is refused a rank, and leaves the status at 0.
    """
    began = time.monotonic()
    campaign, answers = Campaign.of(options), gate.Gate()
    planned = campaign.cells()
    items = gate.items(campaign.entrants, [(cell.asked, cell.direction) for cell in planned])
    writer, verdicts = writer_of(options, campaign.entrants, items)
    answers.add(verdicts)
    _same_plan(writer, campaign.plan(options))
    kept = Kept(options.out)
    expected = _expected(campaign, planned, items, answers, options, writer)
    _ask(items, answers, options, writer)
    until = began + 60 * options.minutes if options.minutes else math.inf
    measured = _measure(campaign, answers, kept, until, expected.pass_s / max(len(planned), 1), options, writer)
    seen = noise.summary(measured, kept.events("machine"))
    took = f"took {estimate.duration(time.monotonic() - began)}; {expected.told()}"
    if writer:
        writer.update(finished=now(), noise=seen)
        writer.write("benchmark.json", document(measured))
    if options.json:
        about = {"baseline": options.baseline, "environment": environment(), "noise": seen}
        print(encoding.document(about | {"measurements": measured}))
    else:
        print(console.timings(measured, options.baseline))
        print("\n".join([took, seen.line, *(f"warning: {text}" for text in seen.warnings)]))
        if writer:
            print(f"run directory: {options.out}\njson: {options.out / 'benchmark.json'}")
    wrong = any(row.wrong for row in measured)
    nothing = not _timed(campaign, measured, options.baseline)
    if nothing:
        console.line("bench: nothing that was asked for was timed; every line says why")
    return 1 if wrong or nothing else 0


def _timed(campaign: Campaign, measured: Sequence[Measurement], baseline: str) -> bool:
    """Return whether anything was timed beside the baseline, or the baseline where it alone was asked for."""
    alone = [one.name for one in campaign.entrants] == [baseline]
    return any(row.status == "measured" and (alone or row.implementation != baseline) for row in measured)


def _wanted(workload: Workload, options: argparse.Namespace) -> bool:
    """Return whether a workload is for one of the named implementations; if none is named, all are."""
    case = parse(workload.case)
    named = registry.select(options.names, options.load) if options.names or options.load else []
    return not named or any(not registry.refuses(i.capabilities, case.on(i.device)) for i in named)


def _same_plan(writer: Writer | None, plan: BenchmarkPlan) -> None:
    """Keep the plan of the passes; one that is gone on with has to be the same."""
    if writer is None:
        return
    before = writer.facts.bench
    if before is not None and before != plan:
        different = ", ".join(name for name in plan.__struct_fields__ if getattr(before, name) != getattr(plan, name))
        raise HarnessError(
            f"{writer.directory} holds a benchmark of another plan ({different}); resume with its own command: "
            f"{writer.facts.command}"
        )
    if before is None:
        writer.update(bench=plan)


def _expected(
    campaign: Campaign,
    planned: Sequence[Cell],
    items: Sequence[Item],
    answers: gate.Gate,
    options: argparse.Namespace,
    writer: Writer | None,
) -> estimate.Estimate:
    """Calibrate, and tell how long it will take."""
    console.line(f"bench: {len(planned)} cells; looking at this machine to say how long they take")
    known = {name: list(verdicts) for name, verdicts in answers.verdicts.items()}
    calibration = estimate.calibrate(items, answers, options.load, options.memory)
    take([v for name, own in answers.verdicts.items() for v in own[len(known.get(name, ())) :]], writer)
    method = {"passes": campaign.passes, "time_per_arm": benchmark.TIME_PER_ARM, "extend": campaign.extend}
    expected = estimate.expected(planned, campaign.entrants, items, calibration, **method)
    console.line(f"bench: {expected.told()}")
    return expected


def _ask(items: Sequence[Item], answers: gate.Gate, options: argparse.Namespace, writer: Writer | None) -> None:
    """Check what is to be timed: what does not conform is never ranked."""
    with console.progress("bench") as show:
        checked = gate.run(items, answers, options.load, memory=options.memory)
        for done, (item, verdicts) in enumerate(checked, 1):
            show(f"checking {item.implementation.name}", done, len(items))
            take(verdicts, writer)


def _measure(
    campaign: Campaign,
    answers: gate.Gate,
    kept: Kept,
    until: float,
    cell_s: float,
    options: argparse.Namespace,
    writer: Writer | None,
) -> list[Measurement]:
    """Time the cells; what was measured before an interruption is kept."""
    measured: list[Measurement] = []
    with console.progress("bench") as show:
        rows = benchmark.run(
            campaign.entrants,
            campaign.workloads,
            passes=campaign.passes,
            threads=campaign.threads,
            directions=campaign.directions,
            dtypes=campaign.dtypes,
            baseline=options.baseline,
            gate=answers,
            progress=show,
            seed=options.seed,
            load=options.load,
            devices=campaign.devices,
            extend=campaign.extend,
            until=until,
            cell_s=cell_s,
            kept=kept,
            memory=options.memory,
        )
        try:
            for row in rows:
                asked = parse(row.gated_on or row.case)
                error_ratio = (
                    answers.error_ratio(row.implementation, asked, row.direction) if row.status == "measured" else None
                )
                measured.append(structs.replace(row, error_ratio=error_ratio))
        finally:
            if writer:
                writer.rewrite(Measurement, measured)
    places = {(c.workload.name, c.case.id, c.direction, c.threads): i for i, c in enumerate(campaign.cells())}
    return sorted(measured, key=lambda row: places[row.cell])
