"""Measure whether what failing cases share names a mutant's condition: learned on half of the cases, asked of the rest.

    python tools/shared_facts_accuracy.py [NAME...] [--every N] [--quick] [--jobs N]

Shared facts know no mutant, so that every one of them is left out of what they could lean on. Each is judged as a
user's file would declare it: one mechanism, its options, float32. The first two mechanisms that it reaches are tried in
turn. Its condition is named where the facts learned on every second case foretell which of the other cases fail: the
harmonic mean of precision and recall is at least 0.8. The exit status is 1 where that holds for fewer than 80 % of the
mutants.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from attention_harness.cases.projection import cases_for
from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.case import Case
from attention_harness.model.facts_of_cases import facts_of
from attention_harness.model.shared_facts import best_conjunctions, matching
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED
from attention_harness.mutation import catalogue
from attention_harness.mutation.campaign import TASK_SECONDS
from attention_harness.mutation.declared import narrowed
from attention_harness.mutation.judging import is_executed
from attention_harness.mutation.patched import Mutant
from attention_harness.mutation.restored import state_restored

GOAL = 0.8
"""The fraction of the mutants whose condition has to be named."""
NAMED = 0.8
"""The harmonic mean of precision and recall, on the other half, from which on a condition counts as named."""
_FIRST, _DTYPE = "scaled_dot_product", "float32"  # what most files declare
_MECHANISMS = 2  # that are tried: each may take a minute


@dataclass(frozen=True)
class Foretold:
    """What the facts of one half of a mutant's cases say of the other half.

    facts   the conjunctions, or "" where all cases of the half fail
    score   harmonic mean of precision and recall; None where nothing fails in one of the halves
    """

    mutant: str
    kind: str
    facts: str = ""
    score: float | None = None
    lost: str = ""


def foretold(mutant: Mutant, tier: str = "default") -> Foretold:
    """Judge a mutant on the cases of a tier, learn on half of them, and return how well that foretells the rest."""
    for mechanism in sorted(mutant.mechanisms(), key=lambda name: name != _FIRST)[:_MECHANISMS]:
        for names, of_tier in ((("accuracy",), tier), (("gradient", "gradient_alone"), tier), ((), "quick")):
            found = _learned(mutant, _outcome(mutant, mechanism, of_tier, names))
            if found.score is not None:
                return found
    return Foretold(mutant.name, mutant.kind)


def _learned(mutant: Mutant, outcome: dict[Case, bool]) -> Foretold:
    """Return how well the facts of every second case foretell the others."""
    cases = list(outcome)
    failing = sum(1 << place for place, case in enumerate(cases) if outcome[case])
    everything = (1 << len(cases)) - 1
    learned = sum(1 << place for place in range(0, len(cases), 2))
    asked, passing = everything ^ learned, everything ^ failing
    if not (failing & learned and failing & asked):
        return Foretold(mutant.name, mutant.kind)
    found = best_conjunctions(facts_of(cases), failing & learned, passing & learned) if passing & learned else []
    said = 0 if found else asked
    for facts in found:
        said |= matching(facts, asked)
    text = "; ".join(" and ".join(fact.text for fact in facts) for facts in found)
    right = (said & failing).bit_count()
    score = 2 * right / (said.bit_count() + (failing & asked).bit_count())
    return Foretold(mutant.name, mutant.kind, text, score)


def _outcome(mutant: Mutant, mechanism: str, tier: str, names: tuple[str, ...]) -> dict[Case, bool]:
    """Return, for each case that was checked, whether one of the named checks, or of all, fails.

    The declaration is that of a user's file: one mechanism, its options and one dtype.
    """
    outcome = {}
    tried = narrowed(mutant.implementation(), mechanism, _DTYPE)
    for case in cases_for(tried.capabilities, tier):
        item = plan_item(tried, case)
        item = replace(item, checks=tuple(check for check in item.checks if not names or check.name in names))
        if names == ("accuracy",) and item.checks and not is_executed(mutant, case):
            outcome[case] = False  # the patch is not reached: eager's answer, which passes
            continue
        with state_restored():
            statuses = [v.status for v in run_checks(item) if not v.check.startswith("behaviour.")]
        if any(status not in NOT_CHECKED for status in statuses):
            outcome[case] = any(status in NONCONFORMING for status in statuses)
    return outcome


def measure(mutants: Sequence[Mutant], tier: str, jobs: int = 0) -> Iterator[Foretold]:
    """Yield the result of each mutant as it is known; one whose process dies or hangs has its reason."""
    tasks = [pool.Task(foretold, (mutant, tier)) for mutant in mutants]
    for place, result in pool.run_tasks(tasks, jobs=jobs, limits=Limits(TASK_SECONDS, 0)):
        if isinstance(result, Lost):
            result = Foretold(mutants[place].name, mutants[place].kind, lost=str(result))
        elif isinstance(result, BaseException):
            raise result
        yield result


def table(found: Sequence[Foretold]) -> str:
    """Return named and measured by kind of mutant, and the fraction; those without failures in both halves apart."""
    measured = [one for one in found if one.score is not None]
    named = Counter(one.kind for one in measured if one.score >= NAMED)
    lines = [f"{kind:20} {named[kind]:4} of {count:4}" for kind, count in Counter(o.kind for o in measured).items()]
    apart = len(found) - len(measured)
    total = f"{named.total()} of {len(measured)} conditions named: {fraction(found):.1%}, goal {GOAL:.0%}"
    return "\n".join([*lines, f"{total}; {apart} mutants fail in too few cases of a tier to tell"])


def fraction(found: Sequence[Foretold]) -> float:
    """Return the fraction of the measured mutants whose condition is named; 0 if none was measured."""
    scores = [one.score for one in found if one.score is not None]
    return sum(score >= NAMED for score in scores) / len(scores) if scores else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when enough conditions are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*(one.name for one in catalogue.mutants()), []])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of all mutants, every N-th")
    parser.add_argument("--quick", dest="tier", action="store_const", const="quick", default="default")
    parser.add_argument("--jobs", type=int, default=0)
    options = parser.parse_args(arguments)
    mutants = [one for one in catalogue.mutants() if not options.names or one.name in options.names][:: options.every]
    found = []
    for one in measure(mutants, options.tier, options.jobs):
        found.append(one)
        score = one.lost or ("too few failures" if one.score is None else f"{one.score:.2f}")
        print(f"{len(found)}/{len(mutants)} {score} {one.mutant}: {one.facts}", file=sys.stderr, flush=True)
    print(table(found))
    return 0 if fraction(found) >= GOAL else 1


if __name__ == "__main__":  # by its name, under which other processes find what they run
    sys.exit(importlib.import_module("shared_facts_accuracy").main())
