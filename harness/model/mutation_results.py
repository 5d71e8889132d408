"""What came of mutants, equivalent variants and perturbed results: what a run directory holds, and totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from attention_harness.model.stored import Amount, Count, Name, Stored, Text
from attention_harness.model.verdict import Verdict


class Outcome(Stored, frozen=True):
    """A mutant, and what the suite made of it.

    witnesses   mechanism -> the first verdict there that accuses the mutant; empty when it survived
    unseen      mechanisms where it changes an output by more than the error bound, and nothing accuses it
    checks      how many were run
    """

    mutant: Name
    kind: Name
    cites: Text
    witnesses: Annotated[dict[Name, Verdict], Meta(max_length=200)]
    unseen: Annotated[tuple[Name, ...], Meta(max_length=200)]
    checks: Count


class EquivalenceResult(Stored, frozen=True):
    """What became of equivalent variants on one part of the cases. checks: variant -> how many were run of it there."""

    part: Count
    checks: Annotated[dict[Name, Count], Meta(max_length=1_000)]
    accused: Annotated[tuple[Verdict, ...], Meta(max_length=100_000)]


class ByRule(Stored, frozen=True):
    """What a project's rule has against a mutant or an equivalent variant. accusation: "" where it has nothing."""

    rule: Name
    name: Name
    equivalent: bool
    accusation: Text


OURS = "attention-harness"
"""What takes the place of a rule's name where this suite judges."""


def rule_totals(found: Sequence[ByRule]) -> dict[str, tuple[Killed, Killed]]:
    """Return by rule, ours last, how many mutants it kills and how many equivalent variants it accuses wrongly."""

    def counted(rule: str, equivalent: bool) -> Killed:
        judged = [one for one in found if one.rule == rule and one.equivalent is equivalent]
        return Killed(sum(bool(one.accusation) for one in judged), len(judged))

    rules = sorted({one.rule for one in found}, key=lambda rule: (rule == OURS, rule))
    return {rule: (counted(rule, False), counted(rule, True)) for rule in rules}


KINDS = ("amplitude", "temperature", "weight", "dropped")
"""The kinds of error of a `Sensitivity`: its fields."""


class Sensitivity(Stored, frozen=True):
    """The smallest error of each kind that a case sees; None when it sees none, or knows no such error.

    keys   the most keys that a query sees; 0 where there are none. Scores and weights matter where it is 2 or more
    weak   why the case sees nothing useful, or ""
    uninformative  whether zeros, or the mean of the right numbers, would pass
    """

    case: Name
    dtype: Name
    content: Name
    keys: Count
    amplitude: Amount | None
    temperature: Amount | None
    weight: Amount | None
    dropped: Amount | None
    weak: Text
    uninformative: bool = False


class Killed(Stored, frozen=True):
    """So many mutants killed of so many."""

    killed: int
    of: int

    @property
    def share(self) -> float:
        """The part that was killed; 0 of none."""
        return self.killed / self.of if self.of else 0.0

    def __str__(self) -> str:
        return f"{self.killed} of {self.of}"


class KilledElsewhere(Stored, frozen=True):
    """A mutant that changes an output of a mechanism, and is killed in other mechanisms alone."""

    mutant: str
    mechanism: str


class MutationScore(Stored, frozen=True):
    """What a suite makes of mutants and of equivalent variants, counted.

    mutants     killed of all that were made
    classes     the same by class
    mechanisms  mechanism -> of the mutants that show there, how many a verdict there kills
    table       class -> mechanism -> the same
    survived    mutants that nothing kills
    variants    how many equivalent variants there were; accused: those that some verdict accuses, wrongly
    """

    mutants: Killed
    classes: dict[str, Killed]
    mechanisms: dict[str, Killed]
    table: dict[str, dict[str, Killed]]
    survived: tuple[str, ...]
    killed_elsewhere: tuple[KilledElsewhere, ...]
    variants: int
    accused: tuple[str, ...]
    mutant_checks: int
    variant_checks: int

    @property
    def checks(self) -> int:
        """How many checks were run on mutants and variants."""
        return self.mutant_checks + self.variant_checks

    @property
    def holds(self) -> bool:
        """Whether something was checked, every mutant was killed and no variant accused."""
        return self.checks > 0 and not self.survived and not self.accused


def ordered(found: Iterable[Any], mutants: Sequence[str] = ()) -> list[Any]:
    """Return results in an order that does not depend on which came first: mutants as named, others, parts."""
    place = {name: number for number, name in enumerate(mutants)}

    def key(one: Outcome | EquivalenceResult) -> tuple[bool, int, str]:
        if isinstance(one, EquivalenceResult):
            return True, one.part, ""
        return False, place.get(one.mutant, len(place)), one.mutant

    return sorted(found, key=key)


def count(outcomes: Sequence[Outcome], equivalence: Sequence[EquivalenceResult]) -> MutationScore:
    """Return the mutation score of these results."""
    classes: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        classes.setdefault(outcome.kind, []).append(outcome)
    accused = {verdict.implementation.partition(":")[2]: None for part in equivalence for verdict in part.accused}
    elsewhere = sorted((mechanism, one.mutant) for one in outcomes if one.witnesses for mechanism in one.unseen)
    return MutationScore(
        mutants=_killed(outcomes),
        classes={name: _killed(of) for name, of in classes.items()},
        mechanisms=_by_mechanism(outcomes),
        table={name: _by_mechanism(of) for name, of in classes.items()},
        survived=tuple(outcome.mutant for outcome in outcomes if not outcome.witnesses),
        killed_elsewhere=tuple(KilledElsewhere(mutant, mechanism) for mechanism, mutant in elsewhere),
        variants=len({name for part in equivalence for name in part.checks}),
        accused=tuple(accused),
        mutant_checks=sum(outcome.checks for outcome in outcomes),
        variant_checks=sum(sum(part.checks.values()) for part in equivalence),
    )


def _killed(outcomes: Sequence[Outcome]) -> Killed:
    return Killed(sum(bool(outcome.witnesses) for outcome in outcomes), len(outcomes))


def _by_mechanism(outcomes: Sequence[Outcome]) -> dict[str, Killed]:
    names = sorted({name for outcome in outcomes for name in (*outcome.witnesses, *outcome.unseen)})
    killed = {name: sum(name in outcome.witnesses for outcome in outcomes) for name in names}
    return {name: Killed(killed[name], killed[name] + sum(name in one.unseen for one in outcomes)) for name in names}
