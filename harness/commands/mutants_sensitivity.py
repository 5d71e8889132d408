"""Measure the smallest error that each case can see."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attention_harness.commands import arguments, console

if TYPE_CHECKING:
    from attention_harness.model.case import Case
    from attention_harness.store import Writer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    arguments.add(parser, "--case", "tier", "--out", "--resume", "--memory", "--json")


def run(options: argparse.Namespace) -> int:
    """Measure the cases of a tier, or the named ones, and print the thresholds; --out may be a run that is there."""
    from attention_harness.commands.run_setup import digest_of
    from attention_harness.model.mutation_results import Sensitivity
    from attention_harness.mutation import sensitivity
    from attention_harness.report.content import mutation
    from attention_harness.store import now
    from attention_harness.store.encoding import document

    cases = sensitivity.select(options.case, options.tier)
    plan = digest_of(case.id for case in cases)
    writer = _writer(options, plan)
    measured = {one.case: one for one in writer.items(Sensitivity)} if writer else {}
    if measured:
        console.line(f"resume: {len(measured)} cases are measured")
    found = [measured[case.id] for case in cases if case.id in measured]
    with writer or contextlib.nullcontext(), console.progress("mutants sensitivity") as show:
        for one in sensitivity.measure(_left(cases, measured)):
            found.append(one)
            if writer:
                writer.add(one)
            show(one.case, len(found), len(cases))
        if writer and writer.facts.plan == plan:  # not where a file was added to another run
            writer.update(finished=now())
    if options.json:
        print(document({"sensitivity": found}))
    else:
        print("\n".join(mutation.sensitivity_lines(found, sensitivity.INHERENT)))
    return 0


def _left(cases: Sequence[Case], measured: dict[str, object]) -> list[Case]:
    return [case for case in cases if case.id not in measured]


def _writer(options: argparse.Namespace, plan: str) -> Writer | None:
    """Return the writer of --out, if any. Measured anew, the cases take the place of those that are there."""
    from attention_harness.commands import run_setup
    from attention_harness.model.mutation_results import Sensitivity
    from attention_harness.store import Writer

    if not run_setup.wants_directory(options):
        return None
    if not (options.out / "run.json").exists():
        return Writer.start(options.out, run_setup.run_facts(tier=options.tier, plan=plan))
    writer = Writer.add_to(options.out)
    if repaired := writer.repair():
        console.line(repaired)
    if not options.resume:
        writer.rewrite(Sensitivity, ())
    return writer
