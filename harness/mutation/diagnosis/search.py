"""The search for the mutants that explain failures.

A mutant agrees with an implementation on a case when their responses do (`difference`). It explains a failure when it
agrees there and its response is not the right one.

Every mutant is tried on the first cases that failed, those that explain one of them on the next. Where several are
left, cases are looked for on which their own responses differ, and the implementation is run there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from attention_harness.checks import Check
from attention_harness.execution.plan import plan_item
from attention_harness.model.case import Case
from attention_harness.model.diagnosis import Match
from attention_harness.model.verdict import Verdict
from attention_harness.mutation.catalogue import mutants
from attention_harness.mutation.diagnosis.candidates import near, unlike
from attention_harness.mutation.diagnosis.difference import difference
from attention_harness.mutation.diagnosis.response import Response, response_of
from attention_harness.mutation.patched import Mutant
from attention_harness.registry import Implementation

SECONDS = 8.0
"""After so much time of the processor, no further case is begun."""

_TRIED_WITH_ALL = 2  # cases on which every mutant is tried
_TRIED = 6  # cases, at least, on which the last mutant left is tried
_RIGHT = Mutant("none", "none", ())


def diagnose(
    implementation: Implementation,
    failures: Iterable[Verdict],
    limit: int = 3,
    *,
    seconds: float = SECONDS,
    further: Sequence[Case] = (),
) -> list[Match]:
    """Return the mutants that explain the failures, the likeliest first; none when no mutant does.

    failures   verdicts of this implementation; those other than `fail` and `error` are ignored
    further    cases to tell mutants apart by, beside the neighbours of those that failed
    """
    deadline = time.process_time() + seconds
    search = _Search(implementation)
    for number, case in enumerate(unlike(failures)):
        if number and time.process_time() > deadline:
            break
        search.try_case(case, mutants() if number < _TRIED_WITH_ALL else search.explaining())
    candidates = list(near(implementation, search.cases, further))
    for with_checks in (False, True):  # comparing the outputs alone is cheap, and mostly enough
        for case in candidates:
            if not search.leading() or time.process_time() > deadline:
                break
            if case not in search.cases and search.tells_apart(case, with_checks):
                search.try_case(case, search.explaining())
    return search.matches(limit)


class _Search:
    """Which mutants have agreed with an implementation, on which cases.

    cases, failed   the cases that were tried, and those of them on which it failed
    distances       of each mutant, on the cases where it agreed
    explained       how many failures each mutant explains
    """

    def __init__(self, implementation: Implementation) -> None:
        self.implementation = implementation
        self.declared = replace(implementation.capabilities, fully_masked_rows="zero")  # as the mutants compute
        self.cases: list[Case] = []
        self.failed: list[Case] = []
        self.distances: dict[Mutant, list[float]] = {mutant: [] for mutant in mutants()}
        self.explained: dict[Mutant, int] = dict.fromkeys(mutants(), 0)

    def try_case(self, case: Case, tried: Sequence[Mutant]) -> None:
        """Compare mutants with the implementation on a case; one without a failure is skipped at first."""
        checks = _checks(self.implementation, case)
        response = Response(self.implementation, case)
        failing = [check for check in checks if response.failure(check)]
        if failing:
            self.failed.append(case)
        elif not self.failed:
            return
        self.cases.append(case)
        ordered = (*failing, *(check for check in checks if check not in failing))
        right = self._response(_RIGHT, case)
        for mutant in tried:
            guess = self._response(mutant, case)
            apart = difference(response, guess, ordered)
            if apart > 1 or (failing and difference(right, guess, ordered) <= 1):
                continue
            self.distances[mutant].append(apart)
            self.explained[mutant] += bool(failing)

    def explaining(self) -> list[Mutant]:
        """Return the mutants that explain half of the failures, or more."""
        return [mutant for mutant, n in self.explained.items() if n and 2 * n >= len(self.failed)]

    def leading(self) -> list[Mutant]:
        """Return the mutants that agree on the most cases."""
        left = self.explaining()
        most = max((len(self.distances[mutant]) for mutant in left), default=0)
        return [mutant for mutant in left if len(self.distances[mutant]) == most]

    def tells_apart(self, case: Case, with_checks: bool) -> bool:
        """Return whether the leading mutants respond differently to a case, or show there while few cases are tried."""
        first, *others = self.leading()
        checks = _checks(self.implementation, case) if with_checks else ()
        one = self._response(first, case)
        if len(self.cases) < _TRIED:
            others.append(_RIGHT)
        return any(difference(one, self._response(other, case), checks) > 1 for other in others)

    def matches(self, limit: int) -> list[Match]:
        """Return the mutants in order: cases agreed, then how near their numbers are, then those that have shipped."""
        found = sorted(self.explaining(), key=lambda mutant: (*self._rank(mutant), not mutant.cites))
        ranks = list(dict.fromkeys(map(self._rank, found)))
        return [
            Match(
                mutant.name,
                mutant.kind,
                mutant.cites,
                ranks.index(self._rank(mutant)) + 1,
                max((apart for apart in self.distances[mutant] if apart >= 0), default=None),
                len(self.distances[mutant]),
                len(self.cases),
            )
            for mutant in found[:limit]
        ]

    def _rank(self, mutant: Mutant) -> tuple[float, float]:
        return -len(self.distances[mutant]), max(self.distances[mutant])

    def _response(self, mutant: Mutant, case: Case) -> Response:
        return response_of(mutant, self.declared, case)


def _checks(implementation: Implementation, case: Case) -> tuple[Check, ...]:
    item = plan_item(implementation, case)
    return item.checks
