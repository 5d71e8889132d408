"""`check` from arguments to exit status: plan, run, keep, tell."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence

from harness import console, execution, fuzz, registry
from harness.cases import matrix, parse
from harness.cases import own as own_cases
from harness.checks import manners
from harness.conformance import Item, plan, unexercised
from harness.diagnosis import Diagnosis, diagnoses
from harness.opening import writer_of
from harness.results import Writer, now, write_json
from harness.values import NONCONFORMING, NOT_CHECKED, Case, HarnessError, Verdict

_TELL_EVERY = 20.0  # seconds between lines of progress where there is no terminal


def check(options: argparse.Namespace) -> int:
    """Judge, keep and tell; 0 when something was checked and all of it conforms."""
    execution.importable(options.load)
    chosen = registry.select(options.names, options.load)
    items = list(plan(chosen, _cases(options), lambda implementation: _own(options, implementation)))
    planned = sum(len(item.checks) for item in items)
    writer, verdicts = writer_of(options, chosen, items)
    done = {(verdict.implementation, verdict.case, verdict.check) for verdict in verdicts}
    left = [item for item in items if any(key not in done for key in item.keys)]
    for reached in _told(left, options, planned, len(verdicts)):
        new = [v for v in reached if (v.implementation, v.case, v.check) not in done]
        verdicts.extend(new)
        if writer:
            writer.add(*new)
    if writer:
        writer.update(finished=now())
    found = _smallest(verdicts, items, options, writer) if options.fuzz else []
    causes = [] if options.no_diagnosis else _causes(verdicts, items, options, writer)
    if options.json:
        document = {
            "planned": planned,
            "verdicts": [verdict.to_json() for verdict in verdicts],
            "diagnosis": [cause.to_json() for cause in causes],
        }
        if options.fuzz:
            document["fuzz"] = {
                "seed": options.seed or 0,
                "cases": options.fuzz,
                "smallest": [s.to_json() for s in found],
            }
        print(json.dumps(document, indent=1))
    else:
        print(console.summary(verdicts, planned))
        if measured := console.manners(verdicts):
            print(measured)
        for name, unasked in unexercised(items).items() if not options.case else ():
            named = [one for one in unasked if not options.mechanism or one not in registry.mechanisms()]
            if named:
                print(f"{name}: declared, but asked by no case, so not shown: {', '.join(named)}")
        if options.fuzz:
            print(console.drawn(options.seed or 0, options.fuzz))
        if writer:
            print(f"run directory: {options.out}")
    checked = [verdict for verdict in verdicts if verdict.status not in NOT_CHECKED]
    return 0 if checked and all(verdict.status not in NONCONFORMING for verdict in checked) else 1


def _causes(
    verdicts: Sequence[Verdict], items: Sequence[Item], options: argparse.Namespace, writer: Writer | None
) -> list[Diagnosis]:
    """Return, tell and keep what may have caused the failures of each implementation."""
    found = []
    for cause in diagnoses(verdicts, options.load, dict.fromkeys(item.case for item in items)):
        console.cause(cause)
        found.append(cause)
    if writer and found:
        write_json(writer.directory / "diagnosis.json", [cause.to_json() for cause in found])
    return found


def _smallest(
    verdicts: Sequence[Verdict], items: Sequence[Item], options: argparse.Namespace, writer: Writer | None
) -> list[fuzz.Smallest]:
    """Return, tell and keep the smallest cases that the failures of a fuzz shrink to."""
    found = []
    for smallest in fuzz.shrink(items, verdicts, options.load):
        console.line(f"smallest of {smallest.failures} such failures:")
        console.failure(smallest.verdict)
        found.append(smallest)
    if writer:
        writer.update(smallest=[smallest.to_json() for smallest in found])
    return found


def _cases(options: argparse.Namespace) -> list[Case]:
    if options.seed is not None and not options.fuzz:
        raise HarnessError("--seed is that of drawn cases: give --fuzz N with it")
    if options.fuzz:
        if options.case or options.tier != "default":
            raise HarnessError("--fuzz draws its own cases: give it without --case, --quick and --thorough")
        chosen = registry.select(options.names, options.load)

        def takes(case: Case) -> bool:
            return any(not one.refuses(case.on(options.device)) for one in chosen)

        drawn = fuzz.drawn(options.seed or 0, options.fuzz, options.mechanism, takes)
        return [case.on(options.device) for case in drawn]
    if options.case:
        if options.mechanism:
            raise HarnessError("--case names its mechanism itself; give --case or --mechanism, not both")
        return [parse(text) for text in options.case]
    wanted = [registry.mechanism(name).name for name in options.mechanism]
    found = [case for case in matrix(options.tier) if not wanted or case.mechanism in wanted]
    return [case.on(options.device) for case in found]


def _own(options: argparse.Namespace, implementation: registry.Implementation) -> list[Case]:
    """Return the cases that a narrow declaration adds to the shared ones, and the one that its manners are asked in."""
    if options.case or options.fuzz:
        return []
    found = [] if options.device != "cpu" else list(own_cases(implementation.capabilities, options.tier))
    shared = {*_cases(options), *found}
    found += [case for case in (manners.anchor(implementation).on(options.device),) if case not in shared]
    return [case for case in found if not options.mechanism or case.mechanism in options.mechanism]


def _told(items: Sequence[Item], options: argparse.Namespace, planned: int, done: int) -> Iterator[list[Verdict]]:
    """Yield the verdicts of each item, with progress, and failures as they come."""
    seconds = options.timeout or execution.ITEM_SECONDS
    told = time.monotonic()
    with console.progress() as bar:
        task = bar.add_task("check", total=planned, completed=done)
        for item, verdicts in execution.run(
            items, jobs=options.jobs, load=options.load, seconds=seconds, memory=options.memory
        ):
            bar.update(task, advance=len(verdicts), description=f"check {item.implementation.name}")
            done += len(verdicts)
            if bar.disable and time.monotonic() - told > _TELL_EVERY:
                console.line(f"check: {done} of {planned}")
                told = time.monotonic()
            for verdict in verdicts:
                if verdict.status in NONCONFORMING:
                    console.failure(verdict)
            yield verdicts
