"""Time today's implementations over those of a git revision, or of a folder with another version of them.

The old version is the baseline of its cells, so that the ratio is new over old; both are checked before they are timed.
A slower answer is confirmed as it stands: it rests on fresh processes, an A/A control of the old version and an
interval.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attention_harness import registry
from attention_harness.benchmark import campaign, gate, noise, versions, workloads
from attention_harness.benchmark.campaign import Cell
from attention_harness.benchmark.pass_log import Kept
from attention_harness.benchmark.recorder import document
from attention_harness.benchmark.workloads import Workload
from attention_harness.commands import arguments, console, gating
from attention_harness.commands.bench import add_matrix_arguments
from attention_harness.commands.run_setup import writer_of
from attention_harness.model.case import Case
from attention_harness.model.measurement import DIRECTIONS, Measurement
from attention_harness.model.run_facts import Noise
from attention_harness.registry import Implementation
from attention_harness.store import Writer, encoding, now


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    parser.add_argument("against", metavar="REV", help="a git revision, or a folder with another version")
    add_matrix_arguments(parser)
    arguments.add_out(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure today's implementations over another version's; 1 when one is slower or newly wrong."""
    known = registry.select(options.names, options.load)
    with versions.opened(options.against, known) as version, tempfile.TemporaryDirectory() as folder:
        chosen = known if options.names or options.load else [one for one in known if versions.differs(one, version)]
        differing, chosen = len(chosen), [one for one in chosen if not _absent(one)]
        console.line(f"bench: {', '.join(one.name for one in chosen) or 'nothing'} against {version.told}")
        arms = {one.name: versions.arm(one, version, Path(folder)) for one in chosen}
        every = versions.loaded(list(arms.values()), version, options.load)
        pairs = [(every[name], every[path.stem]) for name, path in arms.items()]
        rows, readings = _kept(pairs, list(arms.values()), options)
    seen = noise.summary(rows, readings) if rows else None
    return _told(rows, [(new.name, old.name) for new, old in pairs], version, options, differing, seen)


def _absent(implementation: Implementation) -> bool:
    absent = implementation.unavailable()
    if absent:
        console.line(f"bench: {implementation.name} is unavailable here: {absent}")
    return bool(absent)


def _wanted(new: Implementation, options: argparse.Namespace) -> list[Workload]:
    named = workloads.select(options.workload) if options.workload else workloads.quick()
    return [one for one in named if any(not new.refuses(cell.case) for cell in _cells(new, [one], options))]


def _kept(
    pairs: Sequence[tuple[Implementation, Implementation]], arms: Sequence[Path], options: argparse.Namespace
) -> tuple[list[Measurement], list[dict[str, Any]]]:
    """Return the measurements, kept in --out as they come, and what the passes read of the machine."""
    wanted = {new.name: _wanted(new, options) for new, _ in pairs}
    items = [
        one for new, old in pairs for one in gate.items([old, new], _asked(_cells(new, wanted[new.name], options)))
    ]
    writer, _ = writer_of(options, [one for pair in pairs for one in pair], items)
    rows: list[Measurement] = []
    readings: list[dict[str, Any]] = []
    for new, old in pairs:
        if wanted[new.name]:
            kept = Kept(options.out, go_on=False)
            rows += _measured(new, old, wanted[new.name], arms, options, writer, kept)
            readings += kept.events("machine")
    if writer:
        writer.update(finished=now(), against=options.against)
        writer.write("benchmark.json", document(rows))
    return rows, readings


def _directions(options: argparse.Namespace) -> tuple[str, ...]:
    return {"": ("forward",), "both": DIRECTIONS}.get(options.direction, (options.direction,))


def _dtypes(new: Implementation, options: argparse.Namespace) -> tuple[str, ...]:
    """Return the dtypes that are asked for; else float32, or the workloads' own where that is not taken."""
    return options.dtype or (("float32",) if "float32" in new.capabilities.dtypes else ())


def _cells(new: Implementation, wanted: Sequence[Workload], options: argparse.Namespace) -> list[Cell]:
    return campaign.planned(wanted, _dtypes(new, options), (new.device,), _directions(options), options.threads)


def _asked(planned: Sequence[Cell]) -> list[tuple[Case, str]]:
    return [(cell.asked, cell.direction) for cell in planned]


def _measured(
    new: Implementation,
    old: Implementation,
    wanted: Sequence[Workload],
    arms: Sequence[Path],
    options: argparse.Namespace,
    writer: Writer | None,
    kept: Kept,
) -> Iterator[Measurement]:
    load = [*options.load, *arms]
    planned = _cells(new, wanted, options)
    console.line(f"bench: checking {new.name} and {old.name} in {len(planned)} cells before they are timed")
    answers = gating.ask([old, new], _asked(planned), load, writer, options.memory)
    for row in campaign.run(
        [new],
        wanted,
        passes=campaign.PASSES,
        threads=options.threads,
        directions=_directions(options),
        dtypes=_dtypes(new, options),
        baseline=old.name,
        gate=answers,
        progress=lambda what, done, total: console.line(f"bench: {new.name}, {what} ({done} of {total})"),
        seed=options.seed,
        load=load,
        devices=(new.device,),
        extend=True,
        memory=options.memory,
        kept=kept,
    ):
        if writer:
            writer.add(row)
        yield row


def newly_wrong(rows: Sequence[Measurement], pairs: Sequence[tuple[str, str]]) -> list[Measurement]:
    """Return what is refused now and was timed before, in the same cell."""
    before = {(row.implementation, *row.cell): row for row in rows}
    old_of = dict(pairs)
    wrong = [row for row in rows if row.implementation in old_of and row.wrong]
    return [row for row in wrong if before[(old_of[row.implementation], *row.cell)].status == "measured"]


def _told(
    rows: Sequence[Measurement],
    pairs: Sequence[tuple[str, str]],
    version: versions.Version,
    options: argparse.Namespace,
    differing: int,
    seen: Noise | None = None,
) -> int:
    """Tell what was found, and how disturbed the machine was; 0 where all is well, or no implementation differs."""
    wrong = newly_wrong(rows, pairs)
    new = [row for row in rows if row.implementation in dict(pairs)]
    slower = [row for row in new if row.answer == "slower"]
    if options.json:
        found: dict[str, Any] = {"against": version.told, "slower": len(slower), "newly_wrong": len(wrong)}
        print(encoding.document(found | {"noise": seen, "measurements": rows}))
    else:
        print(_text(new, slower, wrong, version, differing))
        if seen:
            print("\n".join([seen.line, *(f"warning: {text}" for text in seen.warnings)]))
        if options.out:
            print(f"run directory: {options.out}")
    nothing = bool(differing) and not any(row.status == "measured" for row in new)
    return 1 if slower or wrong or nothing else 0


def _text(
    new: Sequence[Measurement],
    slower: Sequence[Measurement],
    wrong: Sequence[Measurement],
    version: versions.Version,
    differing: int,
) -> str:
    if not new and differing:
        return f"nothing was timed against {version.told}: what was asked for is unavailable here, or takes no workload"
    if not new:
        return f"nothing to compare: no implementation file differs from {version.told}; name one to measure it anyway"
    answered = [row for row in new if row.answer in ("faster", "slower", "same")]
    lines = [console.timings(new, f"{version.label}")]
    lines += [f"newly wrong: {row.implementation} on {row.workload}: {row.reason}" for row in wrong]
    lines.append(
        f"against {version.told}: {len(slower)} slower, {sum(r.answer == 'faster' for r in new)} faster, "
        f"{sum(r.answer == 'same' for r in new)} the same within 3 %, {len(new) - len(answered)} without an answer, "
        f"{len(wrong)} newly wrong"
    )
    return "\n".join(lines)
