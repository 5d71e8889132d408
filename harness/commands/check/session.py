"""`check` from arguments to exit status: plan, run, keep, tell."""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.cases.narrow import cases_for
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.commands import console
from attention_harness.commands.check import summary
from attention_harness.commands.run_setup import writer_of
from attention_harness.commands.tally import Tally
from attention_harness.execution import fuzz, pool
from attention_harness.execution.costs import Costs, sentence
from attention_harness.execution.limits import ITEM_SECONDS, Limits
from attention_harness.execution.plan import Item, plan_items, unexercised
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.case import Case
from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import Smallest, TimeAccount
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.mutation.diagnosis import diagnose_run
from attention_harness.store import Writer, now
from attention_harness.store.encoding import document
from attention_harness.store.layout import DIAGNOSIS
from attention_harness.store.reading import read


def check(options: argparse.Namespace) -> int:
    """Judge, keep and tell; 0 when something was checked and all of it conforms."""
    chosen = registry.select(options.names, options.load)
    drawn = _drawn(options, chosen)
    cases = [case.on(options.device) for case in drawn.numbers] if drawn else _cases(options)
    items = list(plan_items(chosen, cases, lambda implementation: _own(options, implementation)))
    writer, resumed = writer_of(options, chosen, items)
    with writer or contextlib.nullcontext():
        return _judged(options, items, drawn, writer, resumed)


def _judged(
    options: argparse.Namespace,
    items: Sequence[Item],
    drawn: fuzz.DrawnCases | None,
    writer: Writer | None,
    resumed: Sequence[Verdict],
) -> int:
    planned = sum(len(item.checks) for item in items)
    verdicts = _of_plan(resumed, items, options)
    answered = {verdict.key for verdict in verdicts}
    counted, groups = Tally(_none_yet(items)), fuzz.FailureGroups()
    for verdict in verdicts:
        counted.add(verdict)
        groups.add(verdict)

    def open_ended(item: Item) -> bool:
        return any(key not in answered for key in item.keys)

    whole = not any(map(open_ended, items))  # then what was made of the same verdicts before stands
    if writer and not whole and writer.facts.finished:
        writer.update(finished=None)
    costs = Costs(options.jobs or pool.default_jobs())
    for reached in _told(filter(open_ended, items), options, planned, counted.total.total(), costs):
        new = [verdict for verdict in reached if verdict.key not in answered]
        verdicts += new
        if writer:
            writer.add(*new)
        for verdict in new:
            counted.add(verdict)
            groups.add(verdict)
    account = costs.summary() if costs.checks else None
    found = _smallest(drawn, groups, items, options, writer, whole) if drawn else []
    causes = [] if options.no_diagnosis else _causes(_in_order(counted.failures, items), items, options, writer, whole)
    if writer and not writer.facts.finished:
        writer.update(finished=now(), time=account or writer.facts.time)
    if options.json:
        _print_document(options, planned, verdicts, causes, found, account)
    else:
        if account:
            print(sentence(account))
        _print_summary(options, planned, counted, items)
        if writer:
            print(f"run directory: {options.out}")
    return 0 if counted.conforms else 1


def _of_plan(verdicts: Sequence[Verdict], items: Sequence[Item], options: argparse.Namespace) -> list[Verdict]:
    """Return the verdicts that a run has; one that is not in its plan is an error."""
    planned = {key for item in items for key in item.keys}
    for verdict in verdicts:
        if verdict.key not in planned:
            raise HarnessError(
                f"{options.out}/verdicts.jsonl: {verdict.check} of {verdict.implementation} on {verdict.case} is not "
                "in the plan of this run; remove the line"
            )
    return list(verdicts)


def _none_yet(items: Iterable[Item]) -> dict[str, Counter[Status]]:
    """Return no verdict of each implementation, in the order of the plan, which the summary keeps."""
    return {item.implementation.name: Counter() for item in items}


def _in_order(failures: Iterable[Verdict], items: Sequence[Item]) -> list[Verdict]:
    """Return failures in the order of the plan: they came as workers finished, which must not decide a diagnosis."""
    failed = {verdict.key: verdict for verdict in failures}
    planned = (key for item in items for key in item.keys if key in failed)
    return [failed[key] for key in planned]


def _print_document(
    options: argparse.Namespace,
    planned: int,
    verdicts: Sequence[Verdict],
    causes: Sequence[Diagnosis],
    found: Sequence[Smallest],
    account: TimeAccount | None,
) -> None:
    answer: dict[str, Any] = {"planned": planned, "time": account, "verdicts": verdicts, "diagnosis": causes}
    if options.fuzz:
        answer["fuzz"] = {"seed": options.seed or 0, "cases": options.fuzz, "smallest": found}
    print(document(answer))


def _print_summary(options: argparse.Namespace, planned: int, counted: Tally, items: Sequence[Item]) -> None:
    print(summary.summary(counted, planned))
    if measured := summary.behaviours(counted.behaviours):
        print(measured)
    for name, unasked in unexercised(items).items() if not options.case else ():
        named = [one for one in unasked if not options.mechanism or one not in registry.mechanisms()]
        if named:
            print(f"{name}: declared, but asked by no case, so not shown: {', '.join(named)}")
    if options.fuzz:
        print(summary.drawn(options.seed or 0, options.fuzz))


def _causes(
    failures: Sequence[Verdict], items: Sequence[Item], options: argparse.Namespace, writer: Writer | None, whole: bool
) -> list[Diagnosis]:
    """Return, tell and keep, one after the other, what may have caused the failures of each implementation.

    whole: nothing was asked since the directory was written, so that what it says of a cause still holds.
    """
    path = writer.directory / DIAGNOSIS if writer else None
    found: list[Diagnosis] = list(read(path, ())) if whole and path else []
    if path and not found:
        path.unlink(missing_ok=True)
    for cause in found:
        console.cause(cause)
    known = {cause.implementation for cause in found}
    left = [verdict for verdict in failures if verdict.implementation not in known]
    further = dict.fromkeys(item.case for item in items)
    for cause in diagnose_run(left, options.load, further, options.memory):
        console.cause(cause)
        found.append(cause)
        if writer:
            writer.write(DIAGNOSIS, found)
    return found


def _smallest(
    drawn: fuzz.DrawnCases,
    groups: fuzz.FailureGroups,
    items: Sequence[Item],
    options: argparse.Namespace,
    writer: Writer | None,
    whole: bool,
) -> list[Smallest]:
    """Return, tell and keep, one after the other, the smallest cases that the failures of a fuzz shrink to."""
    found = list(writer.facts.smallest or ()) if writer and whole else []
    implementations = list({item.implementation.name: item.implementation for item in items}.values())
    further = fuzz.shrink(drawn, groups, implementations, options.load, tuple(found), _limits(options))
    for smallest in itertools.chain(tuple(found), further):
        console.line(f"smallest of {smallest.failures} such failures:")
        console.failure(smallest.verdict)
        if smallest not in found:
            found.append(smallest)
            if writer:
                writer.update(smallest=tuple(found))
    if writer and not found:
        writer.update(smallest=())
    return found


def _limits(options: argparse.Namespace) -> Limits:
    return Limits(options.timeout or ITEM_SECONDS, options.memory)


def _drawn(options: argparse.Namespace, chosen: Sequence[registry.Implementation]) -> fuzz.DrawnCases | None:
    """Return the drawn cases of the run, None where its cases are not drawn."""
    if not options.fuzz:
        if options.seed is not None:
            raise HarnessError("--seed is that of drawn cases: give --fuzz N with it")
        return None
    if options.case or options.tier != "default":
        raise HarnessError("--fuzz draws its own cases: give it without --case, --quick and --thorough")
    which = {"seed": options.seed or 0, "mechanisms": options.mechanism, "device": options.device}
    return fuzz.draw_cases(chosen, options.fuzz, **which)


def _cases(options: argparse.Namespace) -> list[Case]:
    if options.case:
        if options.mechanism:
            raise HarnessError("--case names its mechanism itself; give --case or --mechanism, not both")
        return [parse(text) for text in options.case]
    wanted = [registry.mechanism(name).name for name in options.mechanism]
    found = [case for case in matrix(options.tier) if not wanted or case.mechanism in wanted]
    return [case.on(options.device) for case in found]


def _own(options: argparse.Namespace, implementation: registry.Implementation) -> list[Case]:
    """Return the cases that a narrow declaration adds to the shared ones, and the one of its behaviours."""
    if options.case or options.fuzz:
        return []
    found = [] if options.device != "cpu" else list(cases_for(implementation.capabilities, options.tier))
    shared = {*_cases(options), *found}
    found += [case for case in (anchor(implementation).on(options.device),) if case not in shared]
    return [case for case in found if not options.mechanism or case.mechanism in options.mechanism]


def _told(
    items: Iterable[Item], options: argparse.Namespace, planned: int, done: int, costs: Costs
) -> Iterator[list[Verdict]]:
    """Yield the verdicts of each item, with progress, and failures as they come."""
    limits = _limits(options)
    with console.progress("check") as show:
        for item, verdicts in PoolRunner(options.jobs, options.load, limits, costs).run(items):
            done += len(verdicts)
            show(item.implementation.name, done, planned)
            costs.checks += sum(verdict.status not in NOT_CHECKED for verdict in verdicts)
            for verdict in verdicts:
                if verdict.status in NONCONFORMING:
                    console.failure(verdict)
            yield verdicts
