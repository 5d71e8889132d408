"""`bench` from arguments to exit status: check what is to be timed, time what conforms, keep and tell."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from harness import console, execution, registry
from harness.bench import cells, workloads
from harness.bench.recorder import document
from harness.bench.workloads import Workload
from harness.cases import parse
from harness.conformance import Item, plan
from harness.machine import cuda_devices
from harness.measurements import Measurement
from harness.opening import writer_of
from harness.results import Writer, now, write_json
from harness.values import NONCONFORMING, NOT_CHECKED, Status


def bench(options: argparse.Namespace) -> int:
    """Check what is to be timed, time what conforms, keep and tell; 0 when everything that ran conforms."""
    chosen = registry.select(options.names, options.load)
    if options.baseline not in [implementation.name for implementation in chosen]:
        chosen = [*registry.select([options.baseline], options.load), *chosen]
    matrix = workloads.quick if options.quick else workloads.default
    named = workloads.select(options.workload) if options.workload else matrix()
    wanted = [workload for workload in named if _wanted(workload, options)]
    devices = ("cpu", "cuda") if cuda_devices() else ("cpu",)
    items = list(plan(chosen, [parse(workload.case).on(device) for workload in wanted for device in devices]))
    items = list({tuple(item.keys): item for item in items}.values())  # one that takes cuda alone is planned there once
    writer, _ = writer_of(options, chosen, items)
    answers = _gate(items, options, writer)
    measured: list[Measurement] = []
    for measurement in cells.run(
        chosen,
        wanted,
        passes=cells.QUICK_PASSES if options.quick else cells.PASSES,
        time_per_arm=cells.TIME_PER_ARM,
        threads=(options.threads,),
        baseline=options.baseline,
        gate=lambda implementation, case, direction: answers.get((implementation.name, case.id), "it was not checked"),
        progress=lambda what, done, total: console.line(f"bench: {what} ({done} of {total})"),
        seed=options.seed,
        load=options.load,
        devices=devices,
    ):
        measured.append(measurement)
        if writer:
            writer.add(measurement)
    if writer:
        writer.update(finished=now())
        _keep_benchmark(options.out, measured)
    if options.json:
        print(json.dumps([measurement.to_json() for measurement in measured], indent=1))
    else:
        print(console.timings(measured, options.baseline))
        if writer:
            print(f"run directory: {options.out}")
    return 1 if any(measurement.status in ("refused", "error") for measurement in measured) else 0


def _wanted(workload: Workload, options: argparse.Namespace) -> bool:
    """Return whether a workload is for one of the named implementations; if none is named, all are."""
    case = parse(workload.case)
    named = registry.select(options.names, options.load) if options.names or options.load else []
    return not named or any(not i.capabilities.refuses(case.on(i.device)) for i in named)


def _gate(items: Sequence[Item], options: argparse.Namespace, writer: Writer | None) -> dict[tuple[str, str], str]:
    """Return, for what was checked, "" or why it must not be timed: what does not conform is never ranked."""
    answers: dict[tuple[str, str], str] = {}
    console.line(f"bench: checking {len(items)} combinations before any is timed")
    for item, verdicts in execution.run(items, load=options.load):
        if writer:
            writer.add(*verdicts)
        for verdict in verdicts:
            key = (item.implementation.name, item.case.id)
            bad = verdict.status in (*NONCONFORMING, *NOT_CHECKED, Status.KNOWN_FAILURE)
            if bad and verdict.status not in NOT_CHECKED:
                console.failure(verdict)
            answers[key] = answers.get(key) or (f"{verdict.status}: {verdict.reason}" if bad else "")
    return answers


def _keep_benchmark(directory: Path, measured: Sequence[Measurement]) -> None:
    write_json(directory / "benchmark.json", document(measured))
