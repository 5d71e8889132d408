"""What the suite makes of a mutant, and of equivalent variants on a part of the cases. Both run in worker processes."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from attention_harness.cases.ids import parse
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.execution import in_process, pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_item, plan_items
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import lost_verdicts
from attention_harness.execution.worker import start_worker
from attention_harness.model.case import Case
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.mutation.patched import EquivalentVariant, Mutant, eager
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation

ACCUSES = tuple(status for status in NONCONFORMING if status is not Status.UNEXPECTED_PASS)
"""Statuses that kill a mutant. A declared upstream failure that no longer shows is none: a patch may well avoid it."""


def start() -> None:
    """Start a worker without AMX: with it oneDNN#5717 spoils bfloat16 products of equivalent variants."""
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # before the first product, which reads it
    start_worker()


def judge_mutant(mutant: Mutant, ids: Sequence[str]) -> Outcome:
    """Return the first verdict that kills the mutant, by mechanism; and the mechanisms where it shows and survives."""
    implementation, checks = mutant.implementation(), 0
    witnesses: dict[str, Verdict] = {}
    unseen = []
    for mechanism in mutant.mechanisms():
        cases = [case for case in map(_case, ids) if case.mechanism == mechanism]
        with state_restored(seeds=False):
            for verdict in _verdicts(implementation, cases):
                checks += verdict.status not in NOT_CHECKED
                if verdict.status in ACCUSES:
                    witnesses[mechanism] = _replayed_by_mutants(verdict, mutant.name)
                    break
            else:
                if any(changes_output(implementation, eager(), case) for case in cases):
                    unseen.append(mechanism)
    return Outcome(mutant.name, mutant.kind, mutant.cites, witnesses, tuple(unseen), checks)


def judge_variants(variants: Sequence[EquivalentVariant], part: int, ids: Sequence[str]) -> EquivalenceResult:
    """Return the verdicts that accuse a variant: case by case, so that the variants share the error bounds of each."""
    checks = dict.fromkeys((variant.name for variant in variants), 0)
    accused: list[Verdict] = []
    for case in map(_case, ids):
        for variant in variants:
            implementation, mechanisms = _built(variant)
            for verdict in _verdicts(implementation, [case] if case.mechanism in mechanisms else ()):
                checks[variant.name] += verdict.status not in NOT_CHECKED
                if verdict.status in ACCUSES:
                    accused.append(_replayed_by_mutants(verdict, variant.name))
    return EquivalenceResult(part, checks, tuple(accused))


def changes_output(implementation: Implementation, right: Implementation, case: Case) -> bool:
    """Return whether the first output or weights leave the error bound around the right ones, or have another form.

    The checks have no part in this: an exception counts as a change, too.
    """
    if implementation.refuses(case):
        return False
    subject, clean = in_process.subject(implementation, case), in_process.subject(right, case)
    try:
        results = [(call.output, call.weights) for call in (subject.first, clean.first)]
        for found, expected, bound in zip(*results, clean.error_bound(), strict=True):
            if bound is None:
                continue
            if wrong_form(found, case, bound.value.shape, "answer"):
                return True
            numbers, right_numbers = to_array(found), to_array(expected)
            if not np.array_equal(np.isnan(numbers), np.isnan(right_numbers)):
                return True
            if (np.abs(numbers - right_numbers) > bound.bound).any():
                return True
    except (Exception, SystemExit):
        return True
    return False


def judge_in_pieces(worker: pool.Worker, task: pool.Task) -> Outcome | EquivalenceResult:
    """Return the result of a task whose process died or hung, case by case; a case that is lost again is a verdict."""
    if task.function is judge_mutant:
        return _mutant_in_pieces(worker, *task.arguments)
    return _variants_in_pieces(worker, *task.arguments)


def _mutant_in_pieces(worker: pool.Worker, mutant: Mutant, ids: Sequence[str]) -> Outcome:
    checks, mechanisms = 0, mutant.mechanisms()
    for case in map(_case, ids):
        if case.mechanism not in mechanisms:
            continue
        piece = _piece(worker, pool.Task(judge_mutant, (mutant, (case.id,))), mutant.implementation(), case)
        if isinstance(piece, Verdict):
            witness = {case.mechanism: _replayed_by_mutants(piece, mutant.name)}
            return Outcome(mutant.name, mutant.kind, mutant.cites, witness, (), checks + 1)
        checks += piece.checks
    return Outcome(mutant.name, mutant.kind, mutant.cites, {}, (), checks)  # it died once, and not again


def _variants_in_pieces(
    worker: pool.Worker, variants: Sequence[EquivalentVariant], part: int, ids: Sequence[str]
) -> EquivalenceResult:
    checks = dict.fromkeys((variant.name for variant in variants), 0)
    accused: list[Verdict] = []
    for variant in variants:
        for case in map(_case, ids):
            task = pool.Task(judge_variants, ((variant,), part, (case.id,)))
            piece = _piece(worker, task, variant.implementation(), case)
            if isinstance(piece, Verdict):
                checks[variant.name] += 1
                accused.append(_replayed_by_mutants(piece, variant.name))
            else:
                checks[variant.name] += piece.checks[variant.name]
                accused += piece.accused
    return EquivalenceResult(part, checks, tuple(accused))


def _piece(worker: pool.Worker, task: pool.Task, implementation: Implementation, case: Case) -> Any:
    """Return the task's result, or the verdict on a process that gave none."""
    try:
        return worker.ask(task.function, *task.arguments)
    except Lost as lost:
        item = plan_item(implementation, case)
        return lost_verdicts(item, lost)[0]


@functools.cache
def _case(text: str) -> Case:
    return parse(text)


@functools.cache
def _built(variant: EquivalentVariant) -> tuple[Implementation, tuple[str, ...]]:
    return variant.implementation(), variant.mechanisms()


def _verdicts(implementation: Implementation, cases: Iterable[Case]) -> Iterator[Verdict]:
    return (verdict for item in plan_items([implementation], cases) for verdict in run_checks(item))


def _replayed_by_mutants(verdict: Verdict, name: str) -> Verdict:
    """Return the verdict with the command that makes it again: `replay` knows no mutants."""
    command = f"python -m attention_harness mutants {shlex.quote(name)} --case {verdict.case}"
    return msgspec.structs.replace(verdict, replay=command)
