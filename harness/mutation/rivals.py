"""Mutants and equivalent variants judged by another project's rule, and by this suite, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.lost import Lost
from attention_harness.model.mutation_results import ByRule, Killed
from attention_harness.mutation.campaign import TASK_SECONDS
from attention_harness.mutation.declared import Suite
from attention_harness.mutation.judging import judge_mutant, judge_variants, start
from attention_harness.mutation.patched import EquivalentVariant, Mutant
from attention_harness.mutation.rules import MECHANISM, RULES, accusation

OURS = "attention-harness"
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
    rules: Sequence[str], patched: Sequence[Mutant | EquivalentVariant], *, jobs: int = 0, memory: int = 0
) -> Iterator[ByRule]:
    """Yield what each rule, and this suite, has against each mutant and variant. A dead process is an accusation."""
    pairs = [(one, rule) for rule in (*rules, OURS) for one in patched]
    tasks = [pool.Task(judge_by_rule, pair) for pair in pairs]
    for place, result in pool.run_tasks(tasks, jobs=jobs, limits=Limits(TASK_SECONDS, memory), start=start):
        if isinstance(result, BaseException) and not isinstance(result, Lost):
            raise result
        one, rule = pairs[place]
        reason = f"its process was lost: {result}" if isinstance(result, Lost) else str(result)
        yield ByRule(rule, one.name, isinstance(one, EquivalentVariant), reason)


def totals(found: Sequence[ByRule], rules: Sequence[str]) -> dict[str, tuple[Killed, Killed]]:
    """Return by rule how many mutants it kills, and how many equivalent variants it accuses wrongly."""

    def counted(rule: str, equivalent: bool) -> Killed:
        judged = [one for one in found if one.rule == rule and one.equivalent is equivalent]
        return Killed(sum(bool(one.accusation) for one in judged), len(judged))

    return {rule: (counted(rule, False), counted(rule, True)) for rule in (*rules, OURS)}
