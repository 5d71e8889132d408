"""What the suite catches: it is run against every mutant, and against equivalent variants that it must not accuse.

A mutant is asked in every mechanism that its patch reaches, until a verdict there accuses it. A variant is asked
everything. Both run in worker processes: one that dies or hangs costs its own task alone.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.execution import in_process, pool
from attention_harness.execution.limits import ITEM_SECONDS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import lost_verdicts
from attention_harness.execution.worker import start_worker
from attention_harness.model.case import Case
from attention_harness.model.diagnosis import Naming
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.mutation.equivalent import VARIANTS, EquivalentVariant
from attention_harness.mutation.mutants import MUTANTS, Mutant
from attention_harness.mutation.patching import eager, source_of_eager
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation

PART = 8
"""Cases of one task of the variants: enough to share their error bounds, few enough to lose little by a kill."""
TASK_SECONDS = 4 * ITEM_SECONDS

# A declared upstream failure that no longer shows accuses nobody: a patch may well avoid it.
ACCUSES = tuple(status for status in NONCONFORMING if status is not Status.UNEXPECTED_PASS)

Result = Outcome | EquivalenceResult
_DONE = (Outcome, EquivalenceResult, Naming)


@dataclass(frozen=True)
class Plan:
    """What is run on what. parts: the cases of the variants, in tasks. digest: what a resumed run has to agree in."""

    mutants: list[Mutant]
    mutant_cases: list[Case]
    variants: list[EquivalentVariant]
    parts: list[list[Case]]
    digest: str

    def __len__(self) -> int:
        """How many tasks there are."""
        return len(self.mutants) + len(self.parts)


def plan(names: Sequence[str], tier: str, case_ids: Sequence[str]) -> Plan:
    """Return the plan for mutants and variants of these names, on single cases or on those of a tier."""
    mutants, variants = select(names)
    tiers = (tier, "quick" if tier == "quick" else "thorough")
    mutant_cases, variant_cases = ([*map(parse, case_ids)] or _in_order(one) for one in tiers)
    parts = [variant_cases[at : at + PART] for at in range(0, len(variant_cases) if variants else 0, PART)]
    named = [(mutant.name, mutant.patches) for mutant in mutants], list(variants)
    identity = repr((named, [[case.id for case in cases] for cases in (mutant_cases, variant_cases)]))
    digest = hashlib.sha256(f"{identity}{source_of_eager()}".encode()).hexdigest()
    return Plan(mutants, mutant_cases, variants, parts, digest)


def select(names: Sequence[str]) -> tuple[list[Mutant], list[EquivalentVariant]]:
    """Return the mutants and the variants of these names; all of both when none is named."""
    if not names:
        return list(MUTANTS), list(VARIANTS)
    mutants = {mutant.name: mutant for mutant in MUTANTS}
    variants = {variant.name: variant for variant in VARIANTS}
    for name in names:
        if name not in mutants and name not in variants:
            raise HarnessError(
                f"no mutant or variant {name!r}; `python -m attention_harness list mutants` names all {len(MUTANTS)} mutants; "
                f"variants: {', '.join(variants)}"
            )
    return [mutants[name] for name in names if name in mutants], [variants[name] for name in names if name in variants]


def _in_order(tier: str) -> list[Case]:
    """Return the cases of a tier: what accuses most mutants first, what takes long last."""
    quick = set(matrix("quick"))
    return sorted(matrix(tier), key=lambda case: ("dropout" in case.options, case not in quick))


# --- asking


def measure(
    mutants: Sequence[Mutant],
    mutant_cases: Sequence[Case],
    variants: Sequence[EquivalentVariant] = (),
    parts: Sequence[Sequence[Case]] = (),
    *,
    jobs: int = 0,
    seconds: float = TASK_SECONDS,
    memory: int = 0,
    done: Iterable[Result] = (),
) -> Iterator[Result]:
    """Yield the outcome of each mutant on its cases, and the trial of all variants on each part, as each is there.

    done: results of an earlier run, whose tasks are left out.
    """
    finished = {result.mutant if isinstance(result, Outcome) else result.part for result in done}
    ids = tuple(case.id for case in mutant_cases)  # cases do not travel between processes
    tasks = [pool.Task(ask_mutant, (mutant, ids)) for mutant in mutants if mutant.name not in finished]
    whole = tuple(variants)
    for number, part in enumerate(parts):
        if number not in finished:
            tasks.append(pool.Task(ask_variants, (whole, number, tuple(case.id for case in part))))
    limits, gone = Limits(seconds, memory), []
    for place, answer in pool.run_tasks(tasks, jobs=jobs, limits=limits, start=_start):
        if isinstance(answer, Lost):
            gone.append(tasks[place])
        elif isinstance(answer, BaseException):
            raise answer
        else:
            yield answer
    for task in gone:  # at the end: waiting for its pieces would keep back what the others find
        with pool.open_worker(limits, _start) as one:
            yield _piece_by_piece(one, task.arguments)


def ask_mutant(mutant: Mutant, ids: Sequence[str]) -> Outcome:
    """Return what the checks on these cases make of a mutant."""
    implementation, checks = mutant.implementation(), 0
    witnesses: dict[str, Verdict] = {}
    unseen = []
    cases = [_case(text) for text in ids]
    for mechanism in mutant.mechanisms():
        own = [case for case in cases if case.mechanism == mechanism]
        with state_restored(seeds=False):
            for verdict in _verdicts(implementation, own):
                checks += verdict.status not in NOT_CHECKED
                if verdict.status in ACCUSES:
                    witnesses[mechanism] = _named(verdict, mutant.name)
                    break
            else:
                if any(differs(implementation, eager(), case) for case in own):
                    unseen.append(mechanism)
    return Outcome(mutant.name, mutant.kind, mutant.cites, witnesses, tuple(unseen), checks)


def ask_variants(variants: Sequence[EquivalentVariant], part: int, ids: Sequence[str]) -> EquivalenceResult:
    """Return what the checks on these cases make of every variant: case by case, so that they share its error bounds."""
    checks = dict.fromkeys((variant.name for variant in variants), 0)
    accused: list[Verdict] = []
    for case in map(_case, ids):
        for variant in variants:
            implementation, mechanisms = _varied(variant)
            for verdict in _verdicts(implementation, [case] if case.mechanism in mechanisms else ()):
                checks[variant.name] += verdict.status not in NOT_CHECKED
                if verdict.status in ACCUSES:
                    accused.append(_named(verdict, variant.name))
    return EquivalenceResult(part, checks, tuple(accused))


@functools.cache
def _case(text: str) -> Case:
    return parse(text)


@functools.cache
def _varied(variant: EquivalentVariant) -> tuple[Implementation, tuple[str, ...]]:
    return variant.implementation(), variant.mechanisms()


def _verdicts(implementation: Implementation, cases: Iterable[Case]) -> Iterator[Verdict]:
    return (v for item in plan_items([implementation], cases) for v in run_checks(item))


def _named(verdict: Verdict, name: str) -> Verdict:
    return replace(verdict, replay=f"python -m attention_harness mutants {shlex.quote(name)} --case {verdict.case}")


def differs(implementation: Implementation, right: Implementation, case: Case) -> bool:
    """Whether the first answer of a mutant is another one than the right one's, by more than the error bound of some element.

    The checks have no part in this: what raises, has another form, or moves by more than its error bound is another answer.
    """
    if implementation.refuses(case):
        return False
    subject, clean = in_process.subject(implementation, case), in_process.subject(right, case)
    try:
        answers = [(call.output, call.weights) for call in (subject.first, clean.first)]
        for own, other, error_bound in zip(*answers, clean.error_bound(), strict=True):
            if error_bound is None:
                continue
            if wrong_form(own, case, error_bound.value.shape, "answer"):
                return True
            moved = np.abs(to_array(own) - to_array(other))
            if (
                not np.array_equal(np.isnan(to_array(own)), np.isnan(to_array(other)))
                or (moved > error_bound.bound).any()
            ):
                return True
    except (Exception, SystemExit):
        return True
    return False


def _start() -> None:
    """Start a worker without AMX: with it oneDNN#5717 spoils bfloat16 products of equivalent variants."""
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # before the first product, which reads it
    start_worker()


def _piece_by_piece(worker: pool.Worker, asked: tuple[Any, ...]) -> Result:
    """Return what came of a task whose process died or hung: one question after the other, up to the lost one."""
    if isinstance(asked[0], Mutant):
        mutant, ids = asked
        checks = 0
        for case in map(_case, ids):
            if case.mechanism in mutant.mechanisms():
                answer = _piece(worker, ask_mutant, (mutant, (case.id,)), mutant.implementation(), case)
                if isinstance(answer, Verdict):
                    witness = {case.mechanism: _named(answer, mutant.name)}
                    return Outcome(mutant.name, mutant.kind, mutant.cites, witness, (), checks + 1)
                checks += answer.checks
        return Outcome(mutant.name, mutant.kind, mutant.cites, {}, (), checks)  # it died once, and not again
    variants, part, ids = asked
    counts = dict.fromkeys((variant.name for variant in variants), 0)
    accused: list[Verdict] = []
    for variant in variants:
        for case in map(_case, ids):
            answer = _piece(worker, ask_variants, ((variant,), part, (case.id,)), variant.implementation(), case)
            counts[variant.name] += 1 if isinstance(answer, Verdict) else answer.checks[variant.name]
            accused += [_named(answer, variant.name)] if isinstance(answer, Verdict) else answer.accused
    return EquivalenceResult(part, counts, tuple(accused))


def _piece(worker: pool.Worker, function: Any, asked: tuple[Any, ...], of: Implementation, case: Case) -> Any:
    """Return the function's result, or the verdict on a process that gave none."""
    [item] = plan_items([of], [case])
    try:
        return worker.ask(function, *asked)
    except Lost as gone:
        return lost_verdicts(item, gone)[0]
