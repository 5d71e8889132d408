"""The search for the mutants that explain failures.

A mutant agrees with an implementation on a case when their responses do (`difference`). It explains a failure when it
is wrong there in the same way. Where it is right the failure has another cause, which does not speak against it. One
that is wrong where the implementation is right is no explanation.

Every mutant is tried on the first cases that failed, those that explain one of them on the next. Where several are
left, cases are looked for on which their own responses differ, and the implementation is run there.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from attention_harness.checks import Check
from attention_harness.execution.plan import plan_item
from attention_harness.model.case import Case
from attention_harness.model.diagnosis import Match
from attention_harness.model.verdict import Verdict
from attention_harness.mutation.catalogue import mutants
from attention_harness.mutation.diagnosis.candidates import near, unlike
from attention_harness.mutation.diagnosis.difference import Comparison, compare, difference
from attention_harness.mutation.diagnosis.response import Response, executed_by, response_of
from attention_harness.mutation.executed import RIGHT, changed
from attention_harness.mutation.patched import Mutant
from attention_harness.registry import Declared

SECONDS = 8.0
"""After so much time of the processor, no further case is begun."""

_TRIED_WITH_ALL = 2  # cases on which every mutant is tried
_TRIED = 6  # cases, at least, on which the last mutant left is tried


@dataclass(frozen=True, slots=True)
class Found:
    """The mutants that explain failures, the likeliest first, and what was tried: mutants, on so many cases."""

    matches: tuple[Match, ...]
    mutants: int
    cases: int
    out_of_time: bool


def diagnose(
    implementation: Declared,
    failures: Iterable[Verdict],
    limit: int = 3,
    *,
    seconds: float = SECONDS,
    further: Sequence[Case] = (),
    neighbours: bool = True,
) -> Found:
    """Return the mutants that explain the failures; none when no mutant does.

    failures    verdicts of this implementation; those other than `fail` and `error` are ignored
    further     cases to tell mutants apart by
    neighbours  whether cases near those that failed may be tried too
    """
    deadline = time.process_time() + seconds
    search = _Search(implementation)
    failed = unlike(failures)
    for number, case in enumerate(failed):
        if number and time.process_time() > deadline:
            break
        search.try_case(case, mutants() if number < _TRIED_WITH_ALL else search.left())
    search.of_run = len(search.failed)
    candidates = list(near(implementation, search.cases if neighbours else (), further))
    for with_checks in (False, True):  # comparing the outputs alone is cheap, and mostly enough
        for case in candidates:
            if not search.leading() or time.process_time() > deadline:
                break
            if case not in search.cases and search.tells_apart(case, with_checks):
                search.try_case(case, search.left())
    late = bool(failed) and time.process_time() > deadline
    return Found(tuple(search.matches(limit)), len(mutants()) if failed else 0, len(search.cases), late)


class _Search:
    """Which mutants have agreed with an implementation, on which cases.

    cases, failed   the cases that were tried, and those of them on which it failed
    of_run          how many of these are failures of the run, not of cases near them
    distances       of each mutant, on the cases where it agreed
    explained       how many failures each mutant explains
    differing       on how many failing cases it is wrong in another way
    refuted         mutants that are wrong where the implementation is right
    """

    def __init__(self, implementation: Declared) -> None:
        self.implementation = implementation
        self.declared = replace(implementation.capabilities, fully_masked_rows="zero")  # as the mutants compute
        self.cases: list[Case] = []
        self.failed: list[Case] = []
        self.of_run = 0
        self.distances: dict[Mutant, list[float]] = {mutant: [] for mutant in mutants()}
        self.explained: Counter[Mutant] = Counter()
        self.differing: Counter[Mutant] = Counter()
        self.refuted: set[Mutant] = set()

    def try_case(self, case: Case, tried: Sequence[Mutant]) -> None:
        """Compare mutants with the implementation on a case; one without a failure is skipped at first."""
        checks = _checks(self.implementation, case)
        response = Response(self.implementation, case)
        failing = [check for check in checks if response.failure(check)]
        passing = [check for check in checks if check not in failing and not check.by_chance]
        if failing:
            self.failed.append(case)
        elif not self.failed:
            return
        self.cases.append(case)
        right = self._response(RIGHT, case)
        apart_of = functools.cache(lambda guess: difference(response, guess, passing))
        for mutant in tried:
            guess = self._response(mutant, case, checks)
            if failing and guess is right:
                continue
            if not failing:
                apart = apart_of(guess)
                if apart > 1:
                    self.refuted.add(mutant)
                else:
                    self.distances[mutant].append(apart)
                continue
            comparison, apart = compare(response, guess, right, failing, passing)
            if comparison is Comparison.EXPLAINS:
                self.distances[mutant].append(apart)
            self.explained[mutant] += comparison is Comparison.EXPLAINS
            self.differing[mutant] += comparison is Comparison.DIFFERS

    def left(self) -> list[Mutant]:
        """Return the mutants that explain a failure and more than they are wrong about."""
        return [
            mutant
            for mutant, count in self.explained.items()
            if count > self.differing[mutant] and mutant not in self.refuted
        ]

    def explaining(self) -> list[Mutant]:
        """Return those of them that explain a third of the failures of the run that were tried, or more."""
        return [mutant for mutant in self.left() if 3 * self.explained[mutant] >= self.of_run]

    def leading(self) -> list[Mutant]:
        """Return the mutants that agree on the most cases."""
        left = self.explaining()
        most = max((len(self.distances[mutant]) for mutant in left), default=0)
        return [mutant for mutant in left if len(self.distances[mutant]) == most]

    def tells_apart(self, case: Case, with_checks: bool) -> bool:
        """Return whether the leading mutants respond differently to a case, or show there while few cases are tried."""
        first, *others = self.leading()
        checks = _checks(self.implementation, case) if with_checks else ()
        checks = tuple(check for check in checks if not check.by_chance)
        one = self._response(first, case, checks)
        if len(self.cases) < _TRIED:
            others.append(RIGHT)
        return any(difference(one, self._response(other, case, checks), checks) > 1 for other in others)

    def matches(self, limit: int) -> list[Match]:
        """Return the mutants in order: cases agreed, then how near their numbers are, then those that have shipped."""
        least = min((self.differing[mutant] for mutant in self.explaining()), default=0)
        found = [mutant for mutant in self.explaining() if self.differing[mutant] == least]
        found.sort(key=lambda mutant: (*self._rank(mutant), not mutant.cites))
        ranks = list(dict.fromkeys(map(self._rank, found)))
        return [
            Match(
                mutant.name,
                mutant.kind,
                mutant.cites,
                ranks.index(self._rank(mutant)) + 1,
                max((float(apart) for apart in self.distances[mutant] if apart >= 0), default=None),
                len(self.distances[mutant]),
                len(self.cases),
            )
            for mutant in found[:limit]
        ]

    def _rank(self, mutant: Mutant) -> tuple[float, float]:
        return -len(self.distances[mutant]), max(self.distances[mutant])

    def _response(self, mutant: Mutant, case: Case, checks: tuple[Check, ...] = ()) -> Response:
        """Return the response of a mutant: that of the right source where nothing runs that the mutant changes."""
        runs = mutant == RIGHT or changed(mutant) & executed_by(self.declared, case, checks)
        return response_of(mutant if runs else RIGHT, self.declared, case)


def _checks(implementation: Declared, case: Case) -> tuple[Check, ...]:
    item = plan_item(implementation, case)
    return item.checks
