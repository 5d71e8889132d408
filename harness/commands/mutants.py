"""Run the suite against its mutants: mutation score, survivors, and equivalent variants that were accused."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from attention_harness.commands import arguments, console

if TYPE_CHECKING:
    from attention_harness.model.mutation_results import EquivalenceResult, Outcome
    from attention_harness.model.verdict import Verdict
    from attention_harness.mutation.campaign import Campaign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants and equivalent variants; all if none")
    arguments.add(parser, "--case", "tier", "--out", "--resume", "--jobs", "--memory", "--json")
    parser.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="RULE",
        help="judge by the published rule of flash_attention, torch, onnx, xformers, kernelbench or tosa, beside ours",
    )
    parser.add_argument(
        "--generalise",
        action="store_true",
        help="judge each family of mutants without the cases that were written with it in sight",
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print the mutation score; 0 when every mutant is killed and no equivalent variant is accused.

    With --generalise it is 0 where enough mutants are killed.
    """
    from attention_harness.commands import mutants_rule, run_setup
    from attention_harness.model.mutation_results import EquivalenceResult, Outcome, ordered
    from attention_harness.mutation import campaign
    from attention_harness.store import now

    if options.rule:
        return mutants_rule.run(options)
    planned, tier = _planned(options)
    writer, results = None, []
    if run_setup.wants_directory(options):
        # No verdict is planned: what is checked of mutants says nothing about implementations.
        writer, _ = run_setup.begin(options, run_setup.run_facts(tier=tier, plan=planned.plan))
        results = [*writer.items(Outcome), *writer.items(EquivalenceResult)]
        if options.resume:
            console.line(f"resume: {len(results)} tasks are done")
    with writer or contextlib.nullcontext(), console.progress("mutants") as show:
        for result in campaign.measure(planned, jobs=options.jobs, memory=options.memory, done=tuple(results)):
            results.append(result)
            if writer:
                writer.add(result)
            for text in _news(result):
                console.line(f"mutants: {text}")
            show("tasks", len(results), planned.tasks)
        if writer and not writer.facts.finished:
            writer.update(finished=now())
    return _print(options, ordered(results, [mutant.name for mutant in planned.mutants]))


def _planned(options: argparse.Namespace) -> tuple[Campaign, str]:
    """Return the campaign that the arguments ask for, and what a report says of its cases."""
    from attention_harness.model.errors import HarnessError
    from attention_harness.mutation import campaign

    if not options.generalise:
        return campaign.plan_campaign(options.names, options.tier, options.case), options.tier
    if options.case:
        raise HarnessError("--generalise chooses the cases itself: give it without --case")
    return campaign.plan_generalisation(options.names, options.tier), f"{options.tier}, each family unseen"


def _print(options: argparse.Namespace, results: Sequence[Outcome | EquivalenceResult]) -> int:
    from attention_harness.model.mutation_results import Outcome, count
    from attention_harness.mutation.families import GENERALISES
    from attention_harness.report.content import mutation
    from attention_harness.store.encoding import document

    outcomes = [result for result in results if isinstance(result, Outcome)]
    equivalence = [result for result in results if not isinstance(result, Outcome)]
    score = count(outcomes, equivalence)
    holds = score.mutants.share >= GENERALISES if options.generalise else score.holds
    if options.json:
        accusations = [verdict for result in equivalence for verdict in result.accused]
        print(document({"holds": holds, "score": score, "outcomes": outcomes, "accusations": accusations}))
        return 0 if holds else 1
    for outcome in outcomes if options.names else ():
        print(f"{outcome.mutant} ({outcome.kind}{'; ' + outcome.cites if outcome.cites else ''})")
        for verdict in outcome.witnesses.values():
            print(f"  {_accusation(verdict)}\n    replay: {verdict.replay}")
    lines = mutation.generalisation_lines(score) if options.generalise else mutation.score_lines(score)
    print("\n".join(lines))
    return 0 if holds else 1


def _news(result: Outcome | EquivalenceResult) -> Iterator[str]:
    """Yield what went wrong in a task: a survivor, or by accused variant its first accusation."""
    from attention_harness.model.mutation_results import Outcome

    if isinstance(result, Outcome):
        if not result.witnesses:
            yield f"SURVIVED {result.mutant} ({result.kind})"
        return
    by_variant: dict[str, list[Verdict]] = {}
    for verdict in result.accused:
        by_variant.setdefault(verdict.implementation, []).append(verdict)
    for name, accusations in by_variant.items():
        more = f"; and {len(accusations) - 1} more here" if len(accusations) > 1 else ""
        yield f"ACCUSED {name}: {_accusation(accusations[0])}{more}"


def _accusation(verdict: Verdict) -> str:
    ratio = "" if verdict.error_ratio is None else f" (error ratio {verdict.error_ratio:.3g})"
    return f"{verdict.status} of {verdict.check} on {verdict.case}: {verdict.reason}{ratio}"
