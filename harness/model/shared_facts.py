"""What the failing cases of an implementation share: the smallest conjunction of facts that no passing case has.

It is computed from verdicts and case ids alone, so that it is there for errors and crashes too, and for a run that is
read back from its directory. Where no conjunction of up to three facts tells failing from passing cases exactly, up to
three are named with their counts that together do it best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated

from msgspec import Meta, structs

from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.facts_of_cases import Fact, facts_of
from attention_harness.model.stored import Count, Name, Stored
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict

_MOST_FACTS = 3  # of a conjunction
_MOST_CONJUNCTIONS = 3
_BEAM = 60  # conjunctions that a search goes on with
_PER_FACT = 0.005  # of the score: what a further fact has to gain


class Conjunction(Stored, frozen=True):
    """Facts that hold together. cases: those for which they do; failing: how many of these fail."""

    facts: Annotated[tuple[Name, ...], Meta(max_length=_MOST_FACTS)]
    failing: Count
    cases: Count

    def __str__(self) -> str:
        *first, last = self.facts
        facts = f"{', '.join(first)} and {last}" if first else last
        if self.failing < self.cases:
            return f"{self.failing} of {self.cases} cases with {facts} fail"
        return f"all {self.cases} cases with {facts} fail" if self.cases > 1 else f"the one case with {facts} fails"


class SharedFacts(Stored, frozen=True):
    """What failing cases share.

    what          the checks or the status of the failures
    conjunctions  none where all cases fail; the cases of the second are those without the first's, and so on
    others        cases for which none of them holds; failing_others: how many of these fail
    """

    implementation: Name
    what: Annotated[tuple[Name, ...], Meta(max_length=1000)]
    conjunctions: Annotated[tuple[Conjunction, ...], Meta(max_length=_MOST_CONJUNCTIONS)]
    failing_others: Count
    others: Count

    @property
    def exact(self) -> bool:
        """Whether failing and passing cases are told apart without an exception."""
        return not self.failing_others and all(one.failing == one.cases for one in self.conjunctions)

    def __str__(self) -> str:
        if not self.conjunctions:
            return f"all {self.others} cases fail" if self.others > 1 else "the one case that was checked fails"
        rest = f"{self.failing_others or 'none'} of {self.others} others"
        return "; ".join(map(str, self.conjunctions)) + (f", {rest}" if self.others else "")


def shared_facts(verdicts: Iterable[Verdict]) -> list[SharedFacts]:
    """Return what failing cases share: of each implementation, of all its failures, then of kinds that differ."""
    by_implementation: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        # a behaviour concerns the one case on which it is measured
        if verdict.status not in NOT_CHECKED and not verdict.check.startswith("behaviour."):
            by_implementation.setdefault(verdict.implementation, []).append(verdict)
    return [facts for name, found in by_implementation.items() for facts in _of_implementation(name, found)]


def _of_implementation(name: str, verdicts: Sequence[Verdict]) -> Iterator[SharedFacts]:
    failing_checks = {verdict.check for verdict in verdicts if verdict.status in NONCONFORMING}
    if not failing_checks:
        return
    whole = _separated(name, sorted(failing_checks), [one for one in verdicts if one.check in failing_checks])
    if whole is None:
        return
    yield whole
    if whole.exact:
        return
    named = [set(one.facts) for one in whole.conjunctions]
    found: dict[tuple[object, ...], SharedFacts] = {}
    concerned: dict[str, list[Verdict]] = {}
    for one in verdicts:
        for kind in {_kind(one), one.check}:
            concerned.setdefault(kind, []).append(one)
    for kind in sorted({_kind(one) for one in verdicts if one.status in NONCONFORMING}):
        part = _separated(name, [kind], concerned[kind], kind)
        if part is None or not part.exact or not part.conjunctions:
            continue
        facts = set(part.conjunctions[0].facts)
        if len(part.conjunctions) > 1 or any(facts <= known or known <= facts for known in named):
            continue
        alike = found.get(part.conjunctions)
        found[part.conjunctions] = structs.replace(part, what=(*alike.what, kind)) if alike else part
    yield from found.values()


def _kind(verdict: Verdict) -> str:
    """Return what tells failures apart: the check of a wrong result; how it ended, whatever the check."""
    return verdict.check if verdict.status in (Status.FAIL, Status.UNEXPECTED_PASS) else f"{verdict.status}"


def _separated(name: str, what: Sequence[str], verdicts: Iterable[Verdict], kind: str = "") -> SharedFacts | None:
    """Return what tells the failing cases of some verdicts from the others; None if no id can be read.

    kind: the failures that count; all by default
    """
    outcome: dict[str, bool] = {}
    for verdict in verdicts:
        failed = verdict.status in NONCONFORMING and kind in ("", _kind(verdict))
        outcome[verdict.case] = outcome.get(verdict.case, False) or failed
    cases, fails = [], []
    for text, failed in outcome.items():
        try:
            cases.append(Case.from_id(text))
        except HarnessError:  # of a directory that another version wrote
            continue
        fails.append(failed)
    if not any(fails):
        return None
    failing = sum(1 << place for place, failed in enumerate(fails) if failed)
    passing = ((1 << len(cases)) - 1) ^ failing
    conjunctions, left = [], failing | passing
    for facts in best_conjunctions(facts_of(cases), failing, passing) if passing else ():
        held = matching(facts, left)
        left &= ~held
        texts = tuple(fact.text for fact in facts)
        conjunctions.append(Conjunction(texts, (held & failing).bit_count(), held.bit_count()))
    return SharedFacts(name, tuple(what), tuple(conjunctions), (left & failing).bit_count(), left.bit_count())


# --- search

Facts = tuple[Fact, ...]


def matching(facts: Facts, among: int) -> int:
    """Return those of the cases, as bits, for which every fact holds."""
    for fact in facts:
        among &= fact.cases
    return among


def _weight(facts: Facts) -> float:
    return sum(fact.weight for fact in facts)


def best_conjunctions(facts: Sequence[Fact], failing: int, passing: int) -> list[Facts]:
    """Return the conjunction that holds for exactly the failing cases; if there is none, up to three, chosen greedily.

    Each is the one that raises the score of all of them together most.
    """
    if exact := _exact(facts, failing, passing):
        return [exact]
    chosen: list[Facts] = []
    left, held, score = failing, 0, -math.inf
    while left and len(chosen) < _MOST_CONJUNCTIONS:
        score_of = _score(failing, passing, held, sum(map(_weight, chosen)))
        best = max(_tried(facts, left, passing), key=score_of, default=())
        if not best or score_of(best) <= score:
            break
        chosen.append(best)
        score = score_of(best)
        held |= matching(best, failing | passing)
        left = failing & ~held
    return chosen


def _exact(facts: Sequence[Fact], failing: int, passing: int) -> Facts | None:
    """Return the smallest conjunction that holds for all failing cases and for no passing one; None if there is none.

    Among those of one size, the simplest.
    """
    covering = [fact for fact in facts if fact.cases & failing == failing]
    useful: list[Fact] = []
    for fact in covering:  # the simplest come first: one that rules out no more than a simpler one is never needed
        if not any(other.cases & passing | fact.cases & passing == fact.cases & passing for other in useful):
            useful.append(fact)
    narrowed: list[tuple[Facts, int, int]] = [((), passing, 0)]
    for _ in range(_MOST_FACTS):
        longer = [
            ((*one, fact), left & fact.cases, place)
            for one, left, start in narrowed
            for place, fact in enumerate(useful[start:], start + 1)
        ]
        found = [one for one, left, _ in longer if not left]
        if found:
            return min(found, key=_weight)
        narrowed = longer
    return None


def _tried(facts: Sequence[Fact], failing: int, passing: int) -> list[Facts]:
    """Return conjunctions that hold for some failing cases, the best of each number of facts extended by a further."""
    score = _score(failing, passing)
    every = failing | passing
    tried: list[Facts] = []
    beam: list[Facts] = [()]
    for _ in range(_MOST_FACTS):
        extended: dict[int, Facts] = {}
        for one in beam:
            before = matching(one, every)
            for fact in facts:
                after = before & fact.cases
                if after == before or not after & failing:
                    continue
                longer = (*one, fact)
                if after not in extended or _weight(longer) < _weight(extended[after]):
                    extended[after] = longer
        beam = sorted(extended.values(), key=score, reverse=True)[:_BEAM]
        tried += beam
    return tried


def _score(failing: int, passing: int, held: int = 0, weight: float = 0.0) -> Callable[[Facts], float]:
    """Return the score of a further conjunction: precision and recall of all together, less a little for each fact.

    The two are joined by their harmonic mean. held: cases for which the earlier ones hold; weight: their facts' weight.
    """

    def score(facts: Facts) -> float:
        holding = held | matching(facts, failing | passing)
        right, wrong = (holding & failing).bit_count(), (holding & passing).bit_count()
        return 2 * right / (right + wrong + failing.bit_count()) - _PER_FACT * (weight + _weight(facts))

    return score
