"""The mutation score: the suite is run against every mutant, which it should kill, and against equivalent variants.

A task that dies or hangs costs its own result alone.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.execution import pool
from attention_harness.execution.limits import ITEM_SECONDS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.mutation import catalogue, families
from attention_harness.mutation.declared import Suite
from attention_harness.mutation.judging import judge_in_pieces, judge_mutant, judge_variants, start
from attention_harness.mutation.patched import EquivalentVariant, Mutant, source_of_eager

TASK_SECONDS = 4 * ITEM_SECONDS

PART = 8
"""Cases of one task of the variants: enough to share their error bounds, few enough to lose little by a kill."""

SHARE = 8
"""Of the variants, one in so many is asked on a case, and of the covering rows one case in so many is asked at all.

All of them on all cases would be four million checks, ten hours of two cores; this is more than half a million.
"""


Result = Outcome | EquivalenceResult


@dataclass(frozen=True, slots=True)
class Campaign:
    """Mutants with their suite, and equivalent variants with their cases.

    Each mutant is run in every mechanism that its patch reaches, until a verdict there kills it. Variants take turns
    on their cases.

    unseen: each mutant is run without the cases that were written with its family in sight, until one verdict kills
        it; one that differs nowhere from eager, in outputs, gradients and training, is not hunted further
    """

    mutants: tuple[Mutant, ...]
    suite: Suite
    variants: tuple[EquivalentVariant, ...] = ()
    variant_cases: tuple[str, ...] = ()
    share: int = 1
    unseen: bool = False

    @property
    def parts(self) -> list[tuple[str, ...]]:
        """The variants' cases in parts, each of which is one task."""
        cases = self.variant_cases if self.variants else ()
        return [cases[at : at + PART] for at in range(0, len(cases), PART)]

    def suite_for(self, mutant: Mutant) -> Suite:
        """Return the suite that judges a mutant."""
        return families.without(self.suite, mutant.kind) if self.unseen else self.suite

    @property
    def tasks(self) -> int:
        """How many results a complete run has."""
        return len(self.mutants) + len(self.parts)

    @property
    def plan(self) -> str:
        """A digest of all that decides the results: a resumed run must have the same."""
        reached = sorted({name for mutant in self.mutants for name in mutant.mechanisms()})
        cases = [case.id for name in reached for case in self.suite.cases(name)]
        suites = [self.suite_for(mutant) for mutant in self.mutants]
        return hashlib.sha256(f"{self!r}{suites}{cases}{source_of_eager()}".encode()).hexdigest()


def plan_campaign(names: Sequence[str], tier: str, cases: Sequence[str] = ()) -> Campaign:
    """Return the campaign of the named mutants and variants, all if none is named, on a tier's cases or the named ones.

    Mutants run on the cases of the tier. Variants take turns on the thorough ones, those of the matrix and a part of
    the covering rows: one false accusation refutes the suite.
    """
    chosen = select(names)
    mutants, variants = tuple(chosen[0]), tuple(chosen[1])
    if cases:
        ids = tuple(parse(text).id for text in cases)
        return Campaign(mutants, Suite(ids=ids), variants, ids)
    reached = {name for variant in variants for name in variant.mechanisms()}
    of_variants = Suite("quick" if tier == "quick" else "thorough")
    listed = frozenset(matrix(of_variants.tier))
    asked = (case for name in sorted(reached) for case in of_variants.cases(name))
    ids = tuple(case.id for case in asked if case in listed or case.fingerprint % SHARE == 0)
    return Campaign(mutants, Suite(tier), variants, ids, SHARE)


def plan_generalisation(names: Sequence[str], tier: str) -> Campaign:
    """Return the campaign that judges each family of mutants by what was not written with that family in sight."""
    mutants, _ = select(names)
    return Campaign(tuple(mutants), Suite(tier), unseen=True)


def select(names: Sequence[str]) -> tuple[list[Mutant], list[EquivalentVariant]]:
    """Return the mutants and the variants of these names; all of both when none is named."""
    mutants = {mutant.name: mutant for mutant in catalogue.mutants()}
    variants = {variant.name: variant for variant in catalogue.variants()}
    for name in names:
        if name not in mutants and name not in variants:
            near = difflib.get_close_matches(name, [*mutants, *variants], 3, 0.5)
            guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            lists = "`attention-harness list mutants` and `list variants` name them"
            raise HarnessError(f"no mutant or equivalent variant {name!r}.{guess} {lists}")
    chosen = names or (*mutants, *variants)
    return [mutants[n] for n in chosen if n in mutants], [variants[n] for n in chosen if n in variants]


def measure(
    campaign: Campaign, *, jobs: int = 0, seconds: float = TASK_SECONDS, memory: int = 0, done: Iterable[Result] = ()
) -> Iterator[Result]:
    """Yield the outcome of each mutant, and what became of the variants on each part of their cases, as they come.

    done: results of an earlier run, whose tasks are left out.
    """
    finished = {result.mutant if isinstance(result, Outcome) else result.part for result in done}
    tasks = [
        pool.Task(_first_round, (mutant, campaign.suite_for(mutant), campaign.unseen))
        for mutant in campaign.mutants
        if mutant.name not in finished
    ]
    tasks += [
        pool.Task(judge_variants, (campaign.variants, number, part, campaign.share))
        for number, part in enumerate(campaign.parts)
        if number not in finished
    ]
    limits = Limits(seconds, memory)
    quiet: list[Mutant] = []
    for result in _results(tasks, limits, jobs):
        if isinstance(result, Outcome) and not result.witnesses and not campaign.unseen:
            quiet.append(next(mutant for mutant in campaign.mutants if mutant.name == result.mutant))
        else:
            yield result
    yield from _second_round(campaign, quiet, limits, jobs)


def _first_round(mutant: Mutant, suite: Suite, one_suffices: bool) -> Outcome:
    return judge_mutant(mutant, suite, alike_too=False, one_suffices=one_suffices)


def _second_round(campaign: Campaign, mutants: Sequence[Mutant], limits: Limits, jobs: int) -> Iterator[Outcome]:
    """Yield the outcomes of mutants that hardly show in outputs: on all cases, each mechanism a task of its own."""
    suites = {mutant.name: campaign.suite_for(mutant) for mutant in mutants}
    tasks = [
        pool.Task(judge_mutant, (mutant, replace(suites[mutant.name], mechanisms=(name,))))
        for mutant in mutants
        for name in mutant.mechanisms()
    ]
    found: dict[str, list[Outcome]] = {mutant.name: [] for mutant in mutants}
    for result in _results(tasks, limits, jobs):
        assert isinstance(result, Outcome)
        found[result.mutant].append(result)
    for mutant in mutants:
        parts = found[mutant.name]
        witnesses = {name: verdict for part in parts for name, verdict in part.witnesses.items()}
        unseen = tuple(sorted(name for part in parts for name in part.unseen))
        checks = sum(part.checks for part in parts)
        yield Outcome(mutant.name, mutant.kind, mutant.cites, witnesses, unseen, checks)


def _results(tasks: Sequence[pool.Task], limits: Limits, jobs: int) -> Iterator[Result]:
    """Yield the results of tasks as they come; of a task that is lost, what its pieces give."""
    lost = []
    for place, result in pool.run_tasks(tasks, jobs=jobs, limits=limits, start=start):
        if isinstance(result, Lost):
            lost.append(tasks[place])
        elif isinstance(result, BaseException):
            raise result
        else:
            yield result
    for task in lost:  # last, since nobody waits then for what goes piece by piece
        with pool.open_worker(limits, start) as worker:
            yield judge_in_pieces(worker, task)
