"""The mutation score: the suite is run against every mutant, which it should kill, and against equivalent variants.

A task that dies or hangs costs its own result alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attention_harness.execution import pool
from attention_harness.execution.limits import ITEM_SECONDS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.mutation.campaign import Campaign
from attention_harness.mutation.judging import judge_in_pieces, judge_mutant, judge_variants, start

TASK_SECONDS = 4 * ITEM_SECONDS

Result = Outcome | EquivalenceResult


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
