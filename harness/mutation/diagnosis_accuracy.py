"""How often a diagnosis is right: each mutant under another name, judged, and its failures diagnosed."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from attention_harness import store
from attention_harness.cases.matrix import matrix
from attention_harness.commands import console, run_setup
from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.diagnosis import Naming
from attention_harness.model.errors import HarnessError
from attention_harness.model.verdict import NONCONFORMING, Verdict
from attention_harness.mutation import power
from attention_harness.mutation.diagnosis import diagnose
from attention_harness.mutation.mutants import Mutant
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation
from attention_harness.store.encoding import document, plain

AIM = 0.8
"""The share of the mutants that a diagnosis has to name among its first three."""

_ENOUGH = 8  # cases that fail: those that come after them are like them


def outcome(mutant: Mutant, tier: str = "default") -> Naming:
    """Return what the failures of a mutant under another name are taken for, on the cases of a tier."""
    anonymous = replace(mutant.implementation(), name="anonymous")
    failures = _failures(anonymous, tier, ("accuracy",)) or _failures(anonymous, tier, ())
    return Naming(mutant.name, mutant.kind, tuple(diagnose(anonymous, failures, further=matrix(tier))))


def _failures(own: Implementation, tier: str, names: tuple[str, ...]) -> list[Verdict]:
    """Return the first failures of the named checks, or of all."""
    failures: list[Verdict] = []
    for item in plan_items([own], matrix(tier)):
        asked = replace(item, checks=tuple(check for check in item.checks if not names or check.name in names))
        with state_restored():
            failures += [verdict for verdict in run_checks(asked) if verdict.status in NONCONFORMING]
        if len({verdict.case for verdict in failures}) >= _ENOUGH:
            break
    return failures


def measure(
    mutants: Sequence[Mutant], tier: str, jobs: int = 0, seconds: float = power.TASK_SECONDS, memory: int = 0
) -> Iterator[Naming]:
    """Yield what each mutant was taken for, as it is known; one whose process dies or hangs is taken for nothing."""
    tasks = [pool.Task(outcome, (mutant, tier)) for mutant in mutants]
    for place, answer in pool.run_tasks(tasks, jobs=jobs, limits=Limits(seconds, memory)):
        if isinstance(answer, Lost):
            answer = Naming(mutants[place].name, mutants[place].kind, (), str(answer))
        elif isinstance(answer, BaseException):
            raise answer
        yield answer


def command(options: argparse.Namespace) -> int:
    """Measure, keep and tell; 0 when enough mutants are named."""
    mutants, variants = power.select(options.names)
    if options.names and variants:
        raise HarnessError(
            f"mutants diagnose: {variants[0].name!r} is a equivalent variant, which has no cause to name; name mutants: "
            "`python -m attention_harness list mutants`"
        )
    plan = repr(("diagnose", options.tier, [(mutant.name, mutant.patches) for mutant in mutants]))
    writer = None
    if run_setup.wants_directory(options):
        writer, _ = run_setup.begin(options, run_setup.run_facts(tier=options.tier, plan=run_setup.digest_of([plan])))
    with writer or contextlib.nullcontext():
        found = list(writer.items(Naming)) if writer else []
        if options.resume:
            console.line(f"resume: {len(found)} tasks are done")
        done = {one.mutant for one in found}
        left = [mutant for mutant in mutants if mutant.name not in done]
        for one in measure(left, options.tier, options.jobs, memory=options.memory):
            found.append(one)
            if writer:
                writer.add(one)
            if not one.named:
                taken = ", ".join(match.mutant for match in one.matches) or "nothing"
                console.line(f"diagnosis: {one.mutant} taken for {taken}" + (f": {one.lost}" if one.lost else ""))
        if writer and not writer.facts.finished:
            writer.update(finished=store.now())
    found.sort(key=lambda one: [mutant.name for mutant in mutants].index(one.mutant))
    if options.json:
        print(document({"aim": AIM, "mutants": [plain(one) | {"named": one.named} for one in found]}))
    else:
        print(table(found))
    return 0 if rate(found) >= AIM else 1


def rate(found: Sequence[Naming]) -> float:
    """Return the share of the mutants that were named."""
    return sum(one.named for one in found) / max(len(found), 1)


def table(found: Sequence[Naming]) -> str:
    """Return named and not named by kind of mutant, and the rate."""
    planted_kinds, named = Counter(one.kind for one in found), Counter(one.kind for one in found if one.named)
    lines = [f"{kind:14} {named[kind]:4} of {n:4} named" for kind, n in planted_kinds.items()]
    error_ratio = f"{sum(named.values())} of {len(found)} mutants named among the first three: {rate(found):.1%}"
    return "\n".join([*lines, f"{error_ratio}, aim {AIM:.0%}"])
