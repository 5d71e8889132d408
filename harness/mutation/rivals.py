"""Mutants and equivalent variants judged by another project's rule, and by this suite, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.lost import Lost
from attention_harness.model.mutation_results import OURS, ByRule
from attention_harness.mutation.campaign import TASK_SECONDS
from attention_harness.mutation.declared import Suite
from attention_harness.mutation.judging import judge_mutant, judge_variants, start
from attention_harness.mutation.patched import EquivalentVariant, Mutant
from attention_harness.mutation.rules import MECHANISM, RULES, accusation

_SUITE = Suite(mechanisms=(MECHANISM,))
_IN_TURN = 16  # of the variants, one in so many is asked on a case outside the matrix


def judge_by_rule(patched: Mutant | EquivalentVariant, rule: str) -> str:
    """Return what a rule has against a mutant or a variant, or ""."""
    if rule != OURS:
        return accusation(RULES[rule], patched)
    if isinstance(patched, Mutant):
        found = list(judge_mutant(patched, _SUITE).witnesses.values())
    else:
        ids = [case.id for case in _SUITE.cases(MECHANISM) if case.fingerprint % _IN_TURN == 0]
        found = list(judge_variants([patched], 0, ids).accused)
    return f"{found[0].check} on {found[0].case}" if found else ""


def reaching(patched: Sequence[Mutant | EquivalentVariant]) -> list[Mutant | EquivalentVariant]:
    """Return those whose patch reaches the mechanism that the rules judge."""
    return [one for one in patched if MECHANISM in one.mechanisms()]


def compare(
    rules: Sequence[str],
    patched: Sequence[Mutant | EquivalentVariant],
    *,
    jobs: int = 0,
    memory: int = 0,
    done: Iterable[ByRule] = (),
) -> Iterator[ByRule]:
    """Yield what each rule, and this suite, has against each mutant and variant. A dead process is an accusation.

    done: results of an earlier run, which are not made again
    """
    there = {(one.name, one.rule) for one in done}
    pairs = [(one, rule) for rule in (*rules, OURS) for one in patched if (one.name, rule) not in there]
    tasks = [pool.Task(judge_by_rule, pair) for pair in pairs]
    for place, result in pool.run_tasks(tasks, jobs=jobs, limits=Limits(TASK_SECONDS, memory), start=start):
        if isinstance(result, BaseException) and not isinstance(result, Lost):
            raise result
        one, rule = pairs[place]
        reason = f"its process was lost: {result}" if isinstance(result, Lost) else str(result)
        yield ByRule(rule, one.name, isinstance(one, EquivalentVariant), reason)
