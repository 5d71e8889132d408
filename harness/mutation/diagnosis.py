"""Names the likely cause of failures: the mutants are hypotheses, tried on the very cases that failed.

A mutant agrees with an implementation on a case when both answer alike. Their numbers may differ by what two roundings
of one exact value may: the mutant's output takes the reference's place, and the bound of the case is doubled. The bound
holds where the mutant leaves an element as it was; elsewhere the largest of the case does, grown with the mutant's
numbers where those are larger than the reference's. Beside the numbers, the same checks must fail, for the same kind of
reason. Where the implementation fails, a mutant that leaves the right answer as it is explains nothing.

Every mutant is tried on the first cases that failed, those that explain one of them on the next. Where several are left,
further cases are looked for on which their own answers differ, and the implementation is asked there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from attention_harness.bounds import PAIRS
from attention_harness.cases import inputs
from attention_harness.cases.cases import parse
from attention_harness.checks import Check
from attention_harness.checks.size import is_large
from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_items
from attention_harness.execution.worker import implementation
from attention_harness.model.capabilities import FULLY_MASKED_ROWS
from attention_harness.model.case import Case
from attention_harness.model.errors import describe
from attention_harness.model.mutation_results import Match
from attention_harness.model.verdict import NONCONFORMING, Status, Verdict
from attention_harness.mutation.answers import Answer, difference, hypothesis_of, kind_of
from attention_harness.mutation.mutants import MUTANTS, Mutant
from attention_harness.registry import Implementation, mechanisms

SECONDS = 8.0
"""After so long, in time of the processor, no further case is begun."""

_FAILED = 6  # cases that failed, at most, each as unlike the others as can be
_FOR_ALL = 2  # of them, those on which every mutant is tried
_LIMIT = 120.0  # seconds after which a diagnosis is given up; one case of a compiled function may take long
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

    failures   verdicts of this implementation; those other than `fail` and `error` are left aside
    further    cases to tell mutants apart by, beside the neighbours of those that failed
    """
    deadline = time.process_time() + seconds
    trial = _Trial(implementation)
    for number, case in enumerate(_unlike(failures)):
        if number and time.process_time() > deadline:
            break
        trial.ask(case, MUTANTS if number < _FOR_ALL else trial.explaining())
    near = list(_near(implementation, trial.cases, (*_neighbours(trial.cases), *further)))
    for checks_too in (False, True):  # comparing the outputs alone is cheap, and mostly enough
        for case in near:
            if not trial.leading() or time.process_time() > deadline:
                break
            if case not in trial.cases and trial.tells(case, checks_too):
                trial.ask(case, trial.explaining())
    return trial.matches(limit)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found for one implementation. note: why nothing was, or "" when there are matches."""

    implementation: str
    matches: tuple[Match, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a diagnosis from `to_json`'s data."""
        matches = tuple(Match(**match) for match in data["matches"])
        return cls(str(data["implementation"]), matches, str(data["note"]))


def diagnoses(
    verdicts: Iterable[Verdict], load: Sequence[Path] = (), further: Iterable[Case] = (), memory: int = 0
) -> Iterator[Diagnosis]:
    """Yield a diagnosis for each implementation that failed, made in a worker process, so that none can end the run.

    memory: the worker's limit, as `Limits` has it
    """
    ids = tuple(case.id for case in further)  # a worker would compute the matrix again
    failed: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.status in NONCONFORMING:
            failed.setdefault(verdict.implementation, []).append(verdict)
    for name, own in failed.items():
        lost = next((verdict.status for verdict in own if verdict.status in (Status.CRASH, Status.TIMEOUT)), None)
        if lost:
            yield Diagnosis(name, (), f"not diagnosed, since it ends in a {lost}: replay such a case")
            continue
        wrong = [verdict for verdict in own if verdict.status in (Status.FAIL, Status.ERROR)]
        if wrong and all(is_large(parse(verdict.case)) for verdict in wrong):
            yield Diagnosis(name, (), f"not diagnosed: it fails on more than {PAIRS:,} scores alone, too many to try")
            continue
        wrong = [verdict for verdict in wrong if not is_large(parse(verdict.case))]
        policy = next((verdict for verdict in wrong if verdict.check == "behaviour.fully_masked_rows"), None)
        if policy and policy.finding in FULLY_MASKED_ROWS:  # what failed is the promise
            told = f"a row that sees no key is {policy.finding} and declared {policy.declared}: mend one or the other"
            yield Diagnosis(name, (), told)
        elif wrong:
            yield _diagnosed(name, wrong, load, ids, memory)


def _diagnosed(
    name: str, failures: Sequence[Verdict], load: Sequence[Path], further: tuple[str, ...], memory: int
) -> Diagnosis:
    asked = (name, tuple(load), tuple(failures), further)
    try:
        matches = pool.run_alone(_work, *asked, seconds=_LIMIT, memory=memory)
    except Lost as lost:
        return Diagnosis(name, (), f"not diagnosed: {lost}")
    except Exception as error:  # raised in the worker: the verdicts stand without a diagnosis
        return Diagnosis(name, (), f"not diagnosed: {describe(error)}")
    return Diagnosis(name, tuple(matches), "" if matches else f"none of {len(MUTANTS)} mutants explains it")


def _work(name: str, load: tuple[Path, ...], failures: tuple[Verdict, ...], further: tuple[str, ...]) -> list[Match]:
    return diagnose(implementation(name, load), failures, further=list(map(parse, further)))


class _Trial:
    """Which mutants have agreed with an implementation on which cases."""

    def __init__(self, implementation: Implementation) -> None:
        self.implementation = implementation
        self.declared = replace(
            implementation.capabilities, fully_masked_rows="zero"
        )  # the planted ones keep this rule
        self.cases: list[Case] = []
        self.failed: list[Case] = []
        self.shares: dict[Mutant, list[float]] = {mutant: [] for mutant in MUTANTS}  # of the cases where it agreed
        self.explained: dict[Mutant, int] = dict.fromkeys(MUTANTS, 0)  # of the cases that failed

    def ask(self, case: Case, mutants: Sequence[Mutant]) -> None:
        """Try the mutants on a case."""
        checks = _checks(self.implementation, case)
        own = Answer(self.implementation, case)
        failed = [check for check in checks if own.kind(check)]
        ordered = (*failed, *(check for check in checks if check not in failed))
        if failed:
            self.failed.append(case)
        elif not self.failed:
            return  # it does not fail again: nothing to explain yet
        self.cases.append(case)
        right = self._answer(_RIGHT, case)
        for mutant in mutants:
            answer = self._answer(mutant, case)
            error_ratio = difference(own, answer, ordered)
            if error_ratio > 1 or (failed and difference(right, answer, ordered) <= 1):
                continue
            self.shares[mutant].append(error_ratio)
            self.explained[mutant] += bool(failed)

    def explaining(self) -> list[Mutant]:
        """Return the mutants that explain half of the cases that failed, or more."""
        return [mutant for mutant, n in self.explained.items() if n and 2 * n >= len(self.failed)]

    def leading(self) -> list[Mutant]:
        """Return the mutants that agree on the most cases."""
        left = self.explaining()
        most = max((len(self.shares[mutant]) for mutant in left), default=0)
        return [mutant for mutant in left if len(self.shares[mutant]) == most]

    def tells(self, case: Case, checks_too: bool) -> bool:
        """Return whether the leading mutants answer a case differently, or show there while few cases are tried."""
        first, *others = self.leading()
        checks = _checks(self.implementation, case) if checks_too else ()
        one = self._answer(first, case)
        if len(self.cases) < _TRIED:
            others.append(_RIGHT)
        return any(difference(one, self._answer(other, case), checks) > 1 for other in others)

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
                max((error_ratio for error_ratio in self.shares[mutant] if error_ratio >= 0), default=None),
                len(self.shares[mutant]),
                len(self.cases),
            )
            for mutant in found[:limit]
        ]

    def _rank(self, mutant: Mutant) -> tuple[float, float]:
        return -len(self.shares[mutant]), max(self.shares[mutant])

    def _answer(self, mutant: Mutant, case: Case) -> Answer:
        return hypothesis_of(mutant, self.declared, case)


# --- which cases


def _unlike(failures: Iterable[Verdict]) -> list[Case]:
    """Return a few of the cases that failed: a small precise one, then each with the most that is new."""
    told: dict[Case, set[object]] = {}
    for verdict in failures:
        if verdict.status in (Status.FAIL, Status.ERROR):
            case = parse(verdict.case)
            parts = {case.mechanism, case.dtype, case.content, case.layout, *case.requires, verdict.check}
            told.setdefault(case, set()).update(parts, {(verdict.check, kind_of(verdict.reason))})
    left = sorted(told, key=_costly)
    chosen: list[Case] = []
    seen: set[object] = set()
    while left and len(chosen) < _FAILED:
        best = max(left, key=lambda case: len(told[case] - seen)) if chosen else left[0]
        left.remove(best)
        chosen.append(best)
        seen |= told[best]
    return chosen


def _costly(case: Case) -> tuple[bool, int]:
    """Order cases: those whose roundings are small first, the small ones before the large."""
    return not case.format.single, math.prod(max(length, 1) for length in case.sizes.values())


def _near(implementation: Implementation, tried: Sequence[Case], further: Sequence[Case]) -> Iterator[Case]:
    """Return cases that the implementation takes: first of the mechanisms that failed, the cheap ones first."""
    failed = {case.mechanism for case in tried}
    for case in sorted(dict.fromkeys(further), key=lambda case: (case.mechanism not in failed, *_costly(case))):
        here = case if case.device != "cpu" else case.on(implementation.device)
        if not implementation.refuses(here):
            yield here


def _neighbours(cases: Sequence[Case]) -> Iterator[Case]:
    """Yield cases that differ from the given ones in one thing: an option less, other numbers, memory, sizes."""
    for case in cases:
        own = [replace(case, dtype="float64"), replace(case, dtype="float32")]
        if case.content in inputs.DISTRIBUTIONS:
            grown = {
                axis: n + {"B": 1, "Lq": 2, "Lk": 3, "L": 2, "P": 3}.get(axis, 0) for axis, n in case.sizes.items()
            }
            own += [replace(case, sizes=grown), replace(case, seed=case.seed + 1)]
            own += [replace(case, content=content) for content in inputs.DISTRIBUTIONS]
            own += [replace(case, layout=layout) for layout in inputs.LAYOUTS]
            left = [name for name in case.options if name not in mechanisms()[case.mechanism].choices]
            own += [replace(case, options={k: v for k, v in case.options.items() if k != name}) for name in left]
        yield from own


def _checks(implementation: Implementation, case: Case) -> tuple[Check, ...]:
    [item] = plan_items([implementation], [case])
    return item.checks
