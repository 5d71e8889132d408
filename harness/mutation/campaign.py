"""The mutation score: the suite is run against every mutant, which it should kill, and against equivalent variants.

A task that dies or hangs costs its own result alone.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.execution import pool
from attention_harness.execution.limits import ITEM_SECONDS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.mutation import catalogue
from attention_harness.mutation.judging import judge_in_pieces, judge_mutant, judge_variants, start
from attention_harness.mutation.patched import EquivalentVariant, Mutant, source_of_eager

TASK_SECONDS = 4 * ITEM_SECONDS

PART = 8
"""Cases of one task of the variants: enough to share their error bounds, few enough to lose little by a kill."""


Result = Outcome | EquivalenceResult


@dataclass(frozen=True, slots=True)
class Campaign:
    """Mutants with their cases, and equivalent variants with theirs.

    Each mutant is run in every mechanism that its patch reaches, until a verdict there kills it. Each variant is run on
    every case.
    """

    mutants: tuple[Mutant, ...]
    mutant_cases: tuple[str, ...]
    variants: tuple[EquivalentVariant, ...] = ()
    variant_cases: tuple[str, ...] = ()

    @property
    def parts(self) -> list[tuple[str, ...]]:
        """The variants' cases in parts, each of which is one task."""
        cases = self.variant_cases if self.variants else ()
        return [cases[at : at + PART] for at in range(0, len(cases), PART)]

    @property
    def tasks(self) -> int:
        """How many results a complete run has."""
        return len(self.mutants) + len(self.parts)

    @property
    def plan(self) -> str:
        """A digest of all that decides the results: a resumed run must have the same."""
        return hashlib.sha256(f"{self!r}{source_of_eager()}".encode()).hexdigest()


def plan_campaign(names: Sequence[str], tier: str, cases: Sequence[str] = ()) -> Campaign:
    """Return the campaign of the named mutants and variants, all if none is named, on a tier's cases or the named ones.

    Mutants run on the cases of the tier. Variants run on the thorough ones: one false accusation refutes the suite.
    """
    mutants, variants = select(names)
    if cases:
        ids = tuple(parse(text).id for text in cases)
        return Campaign(tuple(mutants), ids, tuple(variants), ids)
    variant_tier = "quick" if tier == "quick" else "thorough"
    return Campaign(tuple(mutants), _ordered(tier), tuple(variants), _ordered(variant_tier) if variants else ())


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
        pool.Task(judge_mutant, (mutant, campaign.mutant_cases))
        for mutant in campaign.mutants
        if mutant.name not in finished
    ]
    tasks += [
        pool.Task(judge_variants, (campaign.variants, number, part))
        for number, part in enumerate(campaign.parts)
        if number not in finished
    ]
    limits, lost = Limits(seconds, memory), []
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


def _ordered(tier: str) -> tuple[str, ...]:
    """Return the cases of a tier: what kills most mutants first, what takes long last."""
    quick = set(matrix("quick"))

    def late(case: Case) -> tuple[bool, bool]:
        return "dropout" in case.options, case not in quick

    return tuple(case.id for case in sorted(matrix(tier), key=late))
