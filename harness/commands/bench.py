"""Time what conforms, side by side with a baseline, over the workloads."""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from msgspec import structs

from attention_harness import registry
from attention_harness.benchmark import campaign as benchmark
from attention_harness.benchmark import gate, noise, schedule, workloads
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.gate import Gate
from attention_harness.benchmark.recorder import document
from attention_harness.benchmark.targets import TargetFile, read_targets, results
from attention_harness.benchmark.timing import ROUNDS
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.commands import arguments, console, gating
from attention_harness.commands.run_setup import writer_of
from attention_harness.execution import declarations
from attention_harness.execution.machine import cuda_devices, environment
from attention_harness.model import units
from attention_harness.model.measurement import DIRECTIONS, Measurement
from attention_harness.model.pass_records import Record
from attention_harness.model.printable import printable
from attention_harness.model.run_facts import Noise
from attention_harness.model.target_results import Met, TargetResult
from attention_harness.store import Writer, encoding, now
from attention_harness.store.layout import TARGETS
from attention_harness.store.reading import pass_records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_matrix_arguments(parser)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few workloads, forward in float32, 3 passes")
    size.add_argument("--full", action="store_true", help="all workloads, models' own lengths and the whole sweep too")
    text = "the workloads of FILE, and which of its targets they meet; exits 1 where one is missed"
    size.add_argument("--targets", type=Path, metavar="FILE", help=text)
    parser.add_argument("--baseline", default="eager", metavar="NAME", help="what the others are compared with")
    text = "no further passes of what is inconclusive beyond; the first ones are always made"
    parser.add_argument("--minutes", type=arguments.minutes, metavar="M", help=text)
    arguments.add(parser, "--out", "--resume", "--json")


def add_matrix_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what names the cells of a matrix, here and for `bench against`."""
    arguments.add(parser, "names", "--load")
    parser.add_argument("--workload", action="append", default=[], metavar="NAME", help="only this workload")
    text = "the workloads' own if not given"
    parser.add_argument("--dtype", type=arguments.dtypes, default=(), metavar="D[,D]", help=text)
    parser.add_argument("--direction", choices=("forward", "forward_backward", "both"), default="", help=text)
    text = "threads of one call; default 1, or what a file of targets says"
    parser.add_argument("--threads", type=arguments.counts, default=(), metavar="N[,N]", help=text)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the order of the calls")
    arguments.add(parser, "--memory")


def run(options: argparse.Namespace) -> int:
    """Check what is to be timed, time what conforms, keep and print it; 0 when something was timed and all conforms.

    A failure that is declared as known is refused a rank, and leaves the status at 0.
    """
    began = time.monotonic()
    wanted = read_targets(options.targets) if options.targets else None
    campaign, verdicts = _campaign(options, wanted), Gate()
    cells = campaign.cells()
    items = gate.items(campaign.implementations, [(cell.gated_case, cell.direction) for cell in cells])
    writer, earlier = writer_of(options, campaign.implementations, items, _plan(campaign, cells))
    verdicts.add(earlier)
    records: list[Record] = list(pass_records(options.out)) if options.out else []
    _announce(campaign, cells)
    with console.progress("bench") as show:
        gating.check(items, verdicts, options.load, writer, options.memory, show)
    campaign = replace(campaign, until=began + 60 * options.minutes if options.minutes else math.inf)
    rows = _measure(campaign, cells, verdicts, records, writer)
    disturbed = noise.summary(rows, records)
    if writer:
        writer.update(finished=now(), noise=disturbed)
        writer.write("benchmark.json", document(rows))
    reached = list(results(wanted.target, rows)) if wanted else []
    if writer and wanted:
        writer.write(TARGETS, reached)
    _print(options, rows, disturbed, reached, time.monotonic() - began)
    timed = _anything_timed(campaign, rows)
    if not timed:
        console.line("bench: nothing that was named was timed; every line says why")
    missed = any(one.status == "missed" for one in reached)
    return 1 if any(row.wrong for row in rows) or not timed or missed else 0


def directions(options: argparse.Namespace, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the directions that the arguments name."""
    return {"": default, "both": DIRECTIONS}.get(options.direction, (options.direction,))


def _campaign(options: argparse.Namespace, wanted: TargetFile | None = None) -> Campaign:
    """Return the campaign of a command line. wanted: the targets that it is to measure."""
    chosen = declarations.select(options.names, options.load)
    if options.baseline not in [implementation.name for implementation in chosen]:
        chosen = [*declarations.select([options.baseline], options.load), *chosen]
    size = "quick" if options.quick else "full" if options.full else "default"
    named = wanted.workload if wanted else workloads.of_matrix(size)
    if options.workload:
        named = workloads.select(options.workload, named if wanted else workloads.WORKLOADS)
    passes = wanted.passes if wanted else benchmark.QUICK_PASSES if options.quick else benchmark.PASSES
    return Campaign(
        implementations=tuple(chosen),
        workloads=tuple(workload for workload in named if _wanted(workload, options)),
        baseline=options.baseline,
        dtypes=options.dtype or (("float32",) if options.quick else ()),
        devices=("cpu", "cuda") if cuda_devices() else ("cpu",),
        directions=directions(options, ("forward",) if options.quick else ()),
        threads=options.threads or ((wanted.threads,) if wanted else (1,)),
        passes=passes,
        rounds=wanted.rounds if wanted else ROUNDS,
        extend=not (options.quick or wanted),
        seed=options.seed,
        load=tuple(options.load),
        memory=options.memory,
    )


def _wanted(workload: Workload, options: argparse.Namespace) -> bool:
    """Return whether a workload is for one of the named implementations; if none is named, all are."""
    case = parse(workload.case)
    named = declarations.select(options.names, options.load) if options.names or options.load else []
    return not named or any(not registry.refuses(one.capabilities, case.on(one.device)) for one in named)


def _plan(campaign: Campaign, cells: Sequence[Cell]) -> list[object]:
    """Return what has to agree for passes to be resumed."""
    return [
        [implementation.name for implementation in campaign.implementations],
        [(cell.workload.name, cell.id, cell.threads) for cell in cells],
        (campaign.baseline, campaign.passes, campaign.extend, campaign.seed, campaign.time_per_arm_s),
    ]


def _announce(campaign: Campaign, cells: Sequence[Cell]) -> None:
    """Say how long the passes will take."""
    seconds = campaign.passes * schedule.expected_s(campaign, cells)
    further = "; as many again for cells that stay inconclusive" if campaign.extend else ""
    console.line(
        f"bench: {len(cells)} cells; what conforms is timed in {campaign.passes} passes, about "
        f"{units.duration(seconds)} in all{further}"
    )


def _measure(
    campaign: Campaign, cells: Sequence[Cell], verdicts: Gate, records: list[Record], writer: Writer | None
) -> list[Measurement]:
    """Return the measurements in the order of the cells; what was measured before an interruption is kept."""
    rows: list[Measurement] = []
    with console.progress("bench") as show:
        try:
            for row in benchmark.measure(campaign, verdicts, show, records, writer):
                gated = parse(row.gated_on or row.case)
                ratio = verdicts.error_ratio(row.implementation, gated, row.direction)
                rows.append(structs.replace(row, error_ratio=ratio) if row.status == "measured" else row)
        finally:
            if writer:
                writer.rewrite(Measurement, rows)
    places = {(cell.workload.name, cell.case.id, cell.direction, cell.threads): i for i, cell in enumerate(cells)}
    return sorted(rows, key=lambda row: places[row.cell])


def _anything_timed(campaign: Campaign, rows: Sequence[Measurement]) -> bool:
    """Return whether anything was timed beside the baseline, or the baseline where it alone was named."""
    alone = [one.name for one in campaign.implementations] == [campaign.baseline]
    return any(row.status == "measured" and (alone or row.implementation != campaign.baseline) for row in rows)


def _print(
    options: argparse.Namespace,
    rows: Sequence[Measurement],
    disturbed: Noise,
    reached: Sequence[TargetResult],
    seconds: float,
) -> None:
    if options.json:
        about = {"baseline": options.baseline, "environment": environment(), "noise": disturbed, "targets": reached}
        print(encoding.document(about | {"measurements": rows}))
        return
    print(timings(rows, options.baseline))
    if reached:
        print(target_lines(reached))
    print(f"took {units.duration(seconds)}\n{noise_lines(disturbed)}")
    if options.out:
        print(f"run directory: {options.out}\njson: {options.out / 'benchmark.json'}")


def noise_lines(disturbed: Noise) -> str:
    """Return how disturbed the machine was, with a line for each warning."""
    return "\n".join([disturbed.line, *(f"warning: {text}" for text in disturbed.warnings)])


def target_lines(reached: Sequence[TargetResult]) -> str:
    """Return a line for each target: whether it was met, what was wanted and what was measured."""
    counts = Counter(one.status for one in reached)
    lines = ["targets: " + ", ".join(f"{counts[status]} {status}" for status in get_args(Met) if counts[status])]
    says = ""
    for one in reached:
        if one.says != says:
            says = one.says
            lines.append(f"{one.implementation}: {says}")
        lines.append(f"  {one.status:12} {one.of}: {one.measured}, wanted {one.wanted}")
    return printable("\n".join(lines))


def timings(measured: Sequence[Measurement], baseline: str) -> str:
    """Return a line for each measurement: its ratio to the baseline with the interval, or why there is none."""
    lines = [f"time over {baseline}'s time [interval]; below 1 is faster; only what conforms is timed"]
    cell = None
    for row in measured:
        if row.cell != cell:
            cell = row.cell
            both = ", forward and backward" if row.direction != "forward" else ""
            threads = f", {row.threads} threads" if row.threads > 1 else ""
            lines.append(f"{row.workload} ({row.dtype}{both}{threads})")
        lines.append(f"  {row.implementation:18} {_answer(row)}")
    return printable("\n".join(lines))


def _answer(row: Measurement) -> str:
    if row.status != "measured":
        return f"{row.status}: {row.reason}"
    why = f": {row.reason}" if row.reason else ""
    if row.ratio is None:
        return f"{row.answer or 'measured'}{why}"
    if row.answer == "unreliable" or row.low is None:
        return f"{row.answer}{why}"
    could = f"; a difference of {row.detectable:.1%} could have been seen" if row.detectable else ""
    could = could if row.answer == "inconclusive" else ""
    error_ratio = f"; {row.ceiling_share:.0%} of the {row.ceiling} ceiling" if row.ceiling_share else ""
    return f"{row.ratio:7.3f} [{row.low:.3f}, {row.high:.3f}] {row.answer}{could}{error_ratio}{why}"
