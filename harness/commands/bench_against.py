"""Time today's implementations over those of a git revision, or of a folder with another version of them.

The old version is the baseline of its cells, so that the ratio is new over old; both are checked before they are timed.
A slower answer is confirmed as it stands: it rests on fresh processes, an A/A control of the old version and an
interval.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attention_harness.benchmark import campaign as benchmark
from attention_harness.benchmark import gate, noise, versions, workloads
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.gate import Gate
from attention_harness.benchmark.recorder import document
from attention_harness.commands import arguments, console, gating
from attention_harness.commands.bench import add_matrix_arguments, directions, noise_lines, timings
from attention_harness.commands.run_setup import writer_of
from attention_harness.execution import declarations
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Record
from attention_harness.model.run_facts import Noise
from attention_harness.registry import Declared
from attention_harness.store import encoding, now


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    parser.add_argument("against", metavar="REV", help="a git revision, or a folder with another version")
    add_matrix_arguments(parser)
    arguments.add(parser, "--out", "--json")


@dataclass(frozen=True)
class Result:
    """What was found. pairs: name of the new one -> name of the old one; differing: of how many the file differs."""

    version: versions.Version
    pairs: dict[str, str]
    differing: int
    rows: Sequence[Measurement] = ()
    noise: Noise | None = None

    @property
    def new(self) -> list[Measurement]:
        """The rows of today's implementations."""
        return [row for row in self.rows if row.implementation in self.pairs]

    @property
    def slower(self) -> list[Measurement]:
        """Those that are slower than they were."""
        return [row for row in self.new if row.answer == "slower"]

    @property
    def newly_wrong(self) -> list[Measurement]:
        """Those that are refused now and were timed before, in the same cell."""
        before = {(row.implementation, *row.cell): row for row in self.rows}
        wrong = [row for row in self.new if row.wrong]
        return [row for row in wrong if before[(self.pairs[row.implementation], *row.cell)].status == "measured"]

    @property
    def status(self) -> int:
        """0 where all is well, or no implementation differs."""
        nothing = self.differing > 0 and not any(row.status == "measured" for row in self.new)
        return 1 if self.slower or self.newly_wrong or nothing else 0


def run(options: argparse.Namespace) -> int:
    """Measure today's implementations over another version's; 1 when one is slower or newly wrong."""
    known = declarations.select(options.names, options.load)
    with versions.opened(options.against, known) as version, tempfile.TemporaryDirectory() as folder:
        chosen = known if options.names or options.load else [one for one in known if versions.differs(one, version)]
        absent = {one.name: reason for one in chosen if (reason := one.unavailable())}
        for name, reason in absent.items():
            console.line(f"bench: {name} is unavailable here: {reason}")
        differing, chosen = len(chosen), [one for one in chosen if one.name not in absent]
        console.line(f"bench: {', '.join(one.name for one in chosen) or 'nothing'} against {version.title}")
        arms = {one.name: versions.write_arm(one, version, Path(folder)) for one in chosen}
        every = versions.loaded(list(arms.values()), version, options.load)
        load = (*options.load, *arms.values())
        campaigns = [_campaign(every[name], every[path.stem], load, options) for name, path in arms.items()]
        result = Result(version, {name: path.stem for name, path in arms.items()}, differing)
        result = _measured(result, [one for one in campaigns if one.workloads], options)
    _print(result, options)
    return result.status


def _campaign(new: Declared, old: Declared, load: tuple[Path, ...], options: argparse.Namespace) -> Campaign:
    """Return the campaign of an implementation over its old version, over the workloads that it takes.

    Its dtypes are those of the command line; else float32, or the workloads' own where that is not taken.
    """
    named = workloads.select(options.workload) if options.workload else workloads.of_matrix("quick")
    every = Campaign(
        implementations=(old, new),
        workloads=(),
        baseline=old.name,
        dtypes=options.dtype or (("float32",) if "float32" in new.capabilities.dtypes else ()),
        devices=(new.device,),
        directions=directions(options, ("forward",)),
        threads=options.threads or (1,),
        extend=True,
        seed=options.seed,
        load=load,
        memory=options.memory,
    )
    alone = [replace(every, workloads=(workload,)) for workload in named]
    taken = [one.workloads[0] for one in alone if any(not new.refuses(cell.case) for cell in one.cells())]
    return replace(every, workloads=tuple(taken))


def _measured(result: Result, campaigns: Sequence[Campaign], options: argparse.Namespace) -> Result:
    """Return the result with its measurements, kept in --out as they come."""
    items = [gate.items(one.implementations, [(c.gated_case, c.direction) for c in one.cells()]) for one in campaigns]
    everyone = [implementation for one in campaigns for implementation in one.implementations]
    writer, _ = writer_of(options, everyone, [item for found in items for item in found])
    rows: list[Measurement] = []
    records: list[Record] = []
    for campaign, planned in zip(campaigns, items, strict=True):
        old, new = campaign.implementations
        console.line(f"bench: checking {new.name} and {old.name} before they are timed")
        verdicts = gating.check(planned, Gate(), campaign.load, writer, options.memory)
        of_campaign: list[Record] = []
        with console.progress(f"bench: {new.name}") as show:
            for row in benchmark.measure(campaign, verdicts, show, of_campaign, writer):
                rows.append(row)
                if writer:
                    writer.add(row)
        records += of_campaign
    disturbed = noise.summary(rows, records) if rows else None
    if writer:
        writer.update(finished=now(), against=options.against, noise=disturbed)
        writer.write("benchmark.json", document(rows))
    return replace(result, rows=rows, noise=disturbed)


def _print(result: Result, options: argparse.Namespace) -> None:
    if options.json:
        counts = {"slower": len(result.slower), "newly_wrong": len(result.newly_wrong), "noise": result.noise}
        print(encoding.document({"against": result.version.title, **counts, "measurements": result.rows}))
        return
    print(text(result))
    if result.noise:
        print(noise_lines(result.noise))
    if options.out:
        print(f"run directory: {options.out}")


def text(result: Result) -> str:
    """Return what was found, for people."""
    title, new = result.version.title, result.new
    if not new and result.differing:
        return f"nothing was timed against {title}: what was named is unavailable here, or takes no workload"
    if not new:
        return f"nothing to compare: no implementation file differs from {title}; name one to measure it anyway"
    count = {answer: sum(row.answer == answer for row in new) for answer in ("slower", "faster", "same")}
    lines = [timings(new, result.version.label)]
    lines += [f"newly wrong: {row.implementation} on {row.workload}: {row.reason}" for row in result.newly_wrong]
    lines.append(
        f"against {title}: {count['slower']} slower, {count['faster']} faster, {count['same']} the same within 3 %, "
        f"{len(new) - sum(count.values())} without an answer, {len(result.newly_wrong)} newly wrong"
    )
    return "\n".join(lines)
