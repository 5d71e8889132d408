"""What the suite makes of a mutant, and of equivalent variants on a part of the cases. Both run in worker processes."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.checks.expected import acts_in_training
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.checks.gradients import upstream_gradient
from attention_harness.execution import in_process, pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item, plan_item
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import lost_verdicts
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.mutation.declared import Suite, anchors, narrowed
from attention_harness.mutation.executed import Statements, changed, recorded
from attention_harness.mutation.patched import EquivalentVariant, Mutant, eager
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation

ACCUSES = tuple(status for status in NONCONFORMING if status is not Status.UNEXPECTED_PASS)
"""Statuses that kill a mutant. A declared upstream failure that no longer shows is none: a patch may well avoid it."""

_FIRST = 60
"""Cases of a mechanism on which most mutants show. Those alike there are judged where nothing else kills a mutant."""

_FURTHER = 400
"""Further cases on which a mutant is compared with eager in a mechanism, once another mechanism has killed it."""


def start() -> None:
    """Start a worker without AMX: with it oneDNN#5717 spoils bfloat16 products of equivalent variants."""
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # before the first product, which reads it


def judge_mutant(
    mutant: Mutant,
    suite: Suite,
    ids: Sequence[str] | None = None,
    *,
    alike_too: bool = True,
    one_suffices: bool = False,
) -> Outcome:
    """Return the first verdict that kills the mutant, by mechanism; and the mechanisms where it shows and survives.

    In each mechanism all cases are judged on which it answers otherwise than eager, and some others.

    ids           of the suite's cases, those to judge; all of them by default
    alike_too     whether all others are judged where no mechanism kills it: thousands of cases
    one_suffices  whether the first verdict ends it, so that nothing is said of other mechanisms
    """
    hunt = _Hunt(mutant.name, _declaring(mutant.implementation()), one_suffices)
    asked = {name: [one for one in suite.cases(name) if ids is None or one.id in ids] for name in mutant.mechanisms()}
    left = [_Sorted(mutant, name, cases) for name, cases in asked.items()]
    with state_restored(seeds=False):
        left = [one for one in left if not hunt.killed(one.differing(0, _FIRST))]
        shows = bool(hunt.witnesses) or any(one.differ for one in left)
        if not shows:
            left = [one for one in left if not hunt.killed(one.differing_in_training(0, _FIRST))]
        if not hunt.witnesses:
            left = [one for one in left if not hunt.killed(one.alike())]
        if not shows:
            left = [one for one in left if not hunt.killed(one.differing_in_training(_FIRST, hunt.count(0)))]
        if shows or not hunt.witnesses:
            left = [one for one in left if not hunt.killed(one.differing(_FIRST, hunt.count(_FURTHER)))]
        left = [one for one in left if not one.differ or not hunt.killed(one.alike())]
        if alike_too and not hunt.witnesses:
            left = [one for one in left if not hunt.killed(one.all_alike())]
        unseen = () if hunt.over else tuple(one.mechanism for one in left if one.changes_output())
    return Outcome(mutant.name, mutant.kind, mutant.cites, hunt.witnesses, unseen, hunt.checks)


class _Sorted:
    """The cases of a mechanism, sorted by whether a mutant answers there otherwise than eager.

    differ: those found to differ so far
    """

    def __init__(self, mutant: Mutant, mechanism: str, cases: Sequence[Case]) -> None:
        self.mechanism, self.differ = mechanism, list[Case]()
        self._mutant, self._tried, self._cases = mutant, mutant.implementation(), cases
        self._alike, self._yielded = list[Case](), set[Case]()

    def differing(self, start: int, count: int | None) -> Iterator[Case]:
        """Yield the cases, from one on and among so many, on which the mutant answers otherwise."""
        for case in self._cases[start : None if count is None else start + count]:
            if _differs(self._mutant, self._tried, case):
                self.differ.append(case)
                yield case
            else:
                self._alike.append(case)

    def differing_in_training(self, start: int, count: int | None) -> Iterator[Case]:
        """Yield those of the cases, from one on and among so many, whose gradients or call in training differ."""
        for case in self._cases[start : None if count is None else start + count]:
            if case not in self._yielded and _differs(self._mutant, self._tried, case, training=True):
                self._yielded.add(case)
                yield case

    def alike(self) -> Iterator[Case]:
        """Yield those of the first cases on which it runs and answers alike, and before them those of the behaviours.

        These see what no answer shows.
        """
        measured = [case for case in self._cases if case in anchors(self.mechanism)]
        early = set(self._cases[:_FIRST])
        yield from self._new(measured)
        yield from self._new(case for case in self._alike if case in early and is_executed(self._mutant, case))

    def all_alike(self) -> Iterator[Case]:
        """Yield every case on which it runs and answers alike."""
        yield from self._new(
            case
            for case in self._alike
            if is_executed(self._mutant, case) or is_executed(self._mutant, case, training=True)
        )

    def changes_output(self) -> bool:
        """Return whether an answer leaves its error bound."""
        return any(changes_output(self._tried, eager(), case) for case in self.differ)

    def _new(self, cases: Iterable[Case]) -> Iterator[Case]:
        for case in cases:
            if case not in self._yielded:
                self._yielded.add(case)
                yield case


@dataclass
class _Hunt:
    """Runs checks on a mutant until one accuses it, in one mechanism or in each.

    checks: how many; witnesses: mechanism -> the verdict
    """

    name: str
    declaring: Callable[[Case], Implementation]
    one_suffices: bool
    checks: int = 0
    witnesses: dict[str, Verdict] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing more is asked."""
        return self.one_suffices and bool(self.witnesses)

    def count(self, some: int) -> int | None:
        """Return how many cases of a further mechanism are compared: all until something has killed the mutant."""
        return some if self.witnesses else None

    def killed(self, cases: Iterable[Case]) -> bool:
        """Judge cases, one after the other; return whether one of them kills the mutant."""
        for case in cases if not self.over else ():
            item = plan_item(self.declaring(case), case, row=True)
            checks = sorted(item.checks, key=lambda check: check.by_chance)  # those that wait for threads come last
            with state_restored(seeds=False):
                found = self._accusation(replace(item, checks=tuple(checks)))
            if found:
                _hold_against_eager(found, item)
                self.witnesses[case.mechanism] = _replayed_by_mutants(found, self.name)
                return True
        return False

    def _accusation(self, item: Item) -> Verdict | None:
        for verdict in run_checks(item):
            self.checks += verdict.status not in NOT_CHECKED
            if verdict.status in ACCUSES:
                return verdict
        return None


def _hold_against_eager(verdict: Verdict, item: Item) -> None:
    """Raise HarnessError where the check accuses eager itself on the case: such a verdict kills nothing."""
    right = narrowed(eager(), item.case.mechanism, item.case.dtype)
    again = replace(
        plan_item(right, item.case, row=True), checks=tuple(c for c in item.checks if c.name == verdict.check)
    )
    for one in run_checks(again):
        if one.status in ACCUSES:
            raise HarnessError(
                f"{one.check} accuses eager itself on {one.case}: {one.reason}. "
                "It is a false accusation, so that no mutant is killed by it: mend the check first"
            )


def judge_variants(
    variants: Sequence[EquivalentVariant], part: int, ids: Sequence[str], share: int = 1
) -> EquivalenceResult:
    """Return the verdicts that accuse a variant: case by case, so that the variants share the error bounds of each.

    share: one variant in so many is asked on a case: they take turns, by the case's fingerprint
    """
    checks = dict.fromkeys((variant.name for variant in variants), 0)
    accused: list[Verdict] = []
    for case in map(_case, ids):
        for variant in (variants[place] for place in _at_turn(case, len(variants), share)):
            declaring, mechanisms = _built(variant)
            if case.mechanism not in mechanisms:
                continue
            for verdict in run_checks(plan_item(declaring(case), case, row=True)):
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


def _differs(mutant: Mutant, implementation: Implementation, case: Case, *, training: bool = False) -> bool:
    """Return whether the output or weights, or what training sees, have other bits than eager's.

    What the call changes of the process is undone: the checks have to see that it is changed.
    """
    if not is_executed(mutant, case, training=training):
        return False
    try:
        with state_restored():
            return digest(implementation, case, training=training) != _of_eager(case, training)[0]
    except (Exception, SystemExit):
        return True


def is_executed(mutant: Mutant, case: Case, *, training: bool = False) -> bool:
    """Return whether a call on a case, or its way back in training, runs a statement that the mutant changes."""
    return bool(changed(mutant) & _of_eager(case, training)[1])


@functools.lru_cache(maxsize=100_000)
def _of_eager(case: Case, training: bool) -> tuple[bytes, Statements]:
    """Return eager's answer in short, and what it executes."""
    with recorded() as run:
        found = digest(eager(), case, training=training)
    return found, run.statements


def digest(implementation: Implementation, case: Case, *, training: bool = False) -> bytes:
    """Return the bits of the first output and weights, in short; or those of the output in training and the gradients.

    An option that acts in training alone is given there, with the same seed for all.
    """
    prepared, tensors = in_process.subject(implementation, case).prepared, inputs.tensors(case)
    if training:
        upstream = upstream_gradient(case, "zero")
        way_back = prepared.gradients(tensors, upstream, training=acts_in_training(case), seed=0)
        found = [way_back.output, *(way_back.by_name[name] for name in sorted(way_back.by_name))]
    else:
        returned = prepared.call(tensors)
        found = [returned.output, returned.weights, returned.lse]
    together = hashlib.blake2b(digest_size=16)
    for one in (to_array(one) for one in found if one is not None):
        together.update(repr(one.shape).encode())
        together.update(np.ascontiguousarray(one).tobytes())
    return together.digest()


def judge_in_pieces(worker: pool.Worker, task: pool.Task) -> Outcome | EquivalenceResult:
    """Return the result of a task whose process died or hung, case by case; a case that is lost again is a verdict."""
    if task.function is judge_variants:
        return _variants_in_pieces(worker, *task.arguments)
    mutant, suite, *_ = task.arguments
    return _mutant_in_pieces(worker, mutant, suite)


def _mutant_in_pieces(worker: pool.Worker, mutant: Mutant, suite: Suite) -> Outcome:
    """Return the outcome up to the first case that kills the mutant or is lost again."""
    checks = 0
    for mechanism in mutant.mechanisms():
        for case in suite.cases(mechanism):
            piece = _piece(worker, pool.Task(judge_mutant, (mutant, suite, (case.id,))), mutant.implementation(), case)
            if isinstance(piece, Verdict):
                witness = {mechanism: _replayed_by_mutants(piece, mutant.name)}
                return Outcome(mutant.name, mutant.kind, mutant.cites, witness, (), checks + 1)
            checks += piece.checks
            if piece.witnesses:
                return msgspec.structs.replace(piece, checks=checks)
    return Outcome(mutant.name, mutant.kind, mutant.cites, {}, (), checks)  # it died once, and not again


def _variants_in_pieces(
    worker: pool.Worker, variants: Sequence[EquivalentVariant], part: int, ids: Sequence[str], share: int
) -> EquivalenceResult:
    checks = dict.fromkeys((variant.name for variant in variants), 0)
    accused: list[Verdict] = []
    for place, variant in enumerate(variants):
        for case in map(_case, ids):
            if place not in _at_turn(case, len(variants), share):
                continue
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


def _at_turn(case: Case, variants: int, share: int) -> range:
    """Return the places of the variants that are asked on a case; its last digits say whether it is asked at all."""
    return range(case.fingerprint // share % share, variants, share)


@functools.cache
def _case(text: str) -> Case:
    return parse(text)


@functools.cache
def _built(variant: EquivalentVariant) -> tuple[Callable[[Case], Implementation], tuple[str, ...]]:
    return _declaring(variant.implementation()), variant.mechanisms()


def _declaring(implementation: Implementation) -> Callable[[Case], Implementation]:
    """Return for each case the implementation under the narrowest declaration that takes the case."""
    made = functools.cache(functools.partial(narrowed, implementation))
    return lambda case: made(case.mechanism, case.dtype)


def _replayed_by_mutants(verdict: Verdict, name: str) -> Verdict:
    """Return the verdict with the command that makes it again: `replay` knows no mutants."""
    command = f"python -m attention_harness mutants {shlex.quote(name)} --case {verdict.case}"
    return msgspec.structs.replace(verdict, replay=command)
