"""What came of mutants, equivalent variants and perturbed results: what a run directory holds, and totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

    @property
    def witness(self) -> Verdict | None:
        """The first verdict that accuses it."""
        return next(iter(self.witnesses.values()), None)


class EquivalenceResult(Stored, frozen=True):
    """What became of equivalent variants on one part of the cases. checks: variant -> how many were run of it there."""

    part: Count
    checks: Annotated[dict[Name, Count], Meta(max_length=1_000)]
    accused: Annotated[tuple[Verdict, ...], Meta(max_length=100_000)]


class Sensitivity(Stored, frozen=True):
    """The smallest error of each kind that a case sees; None when it sees none, or knows no such error.

    keys   the most keys that a query sees; 0 where there are none. Scores and weights matter where it is 2 or more
    weak   why the case sees nothing useful, or ""
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


@dataclass(frozen=True, slots=True)
class Power:
    """What a suite catches, counted.

    mutants      class -> (caught, planted)
    mechanisms  mechanism -> (caught, changed): of the mutants that show there, how many a verdict there accuses
    table       class -> mechanism -> (caught, changed)
    missed      mutants that nothing accuses
    unseen      (mechanism, mutant): accused elsewhere, and not where it changes an output too
    accused     variants that some verdict accuses, wrongly
    """

    mutants: Mapping[str, tuple[int, int]]
    mechanisms: Mapping[str, tuple[int, int]]
    table: Mapping[str, Mapping[str, tuple[int, int]]]
    missed: tuple[str, ...]
    unseen: tuple[tuple[str, str], ...]
    variants: int
    accused: tuple[str, ...]
    mutant_checks: int
    variant_checks: int

    @property
    def caught(self) -> int:
        """How many mutants some verdict accuses."""
        return sum(caught for caught, _ in self.mutants.values())

    @property
    def planted(self) -> int:
        """How many mutants were planted."""
        return sum(planted for _, planted in self.mutants.values())

    @property
    def checks(self) -> int:
        """How many checks were asked of mutants and variants."""
        return self.mutant_checks + self.variant_checks

    @property
    def holds(self) -> bool:
        """Whether something was asked, every mutant was caught and no variant accused."""
        return self.checks > 0 and not self.missed and not self.accused

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""

        def pairs(counts: Mapping[str, tuple[int, int]], total: str) -> dict[str, dict[str, int]]:
            return {name: {"caught": caught, total: of} for name, (caught, of) in counts.items()}

        return {
            "mutants": {"caught": self.caught, "planted": self.planted, "missed": list(self.missed)},
            "classes": pairs(self.mutants, "planted"),
            "mechanisms": pairs(self.mechanisms, "changed"),
            "table": {kind: pairs(row, "changed") for kind, row in self.table.items()},
            "unseen": [{"mechanism": mechanism, "mutant": mutant} for mechanism, mutant in self.unseen],
            "variants": {"accused": len(self.accused), "asked": self.variants, "names": list(self.accused)},
            "checks": {"mutants": self.mutant_checks, "variants": self.variant_checks, "all": self.checks},
            "holds": self.holds,
        }


def ordered(found: Iterable[Any], mutants: Sequence[str] = ()) -> list[Any]:
    """Return what was tried, in an order that does not depend on which came first: mutants as named, then by name."""
    place = {name: number for number, name in enumerate(mutants)}

    def key(one: Outcome | EquivalenceResult) -> tuple[int, int, str]:
        return (
            (1, one.part, "")
            if isinstance(one, EquivalenceResult)
            else (0, place.get(one.mutant, len(place)), one.mutant)
        )

    return sorted(found, key=key)


def count(outcomes: Sequence[Outcome], equivalence: Sequence[EquivalenceResult]) -> Power:
    """Return the totals of what was tried."""
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.kind, []).append(outcome)
    accused = {verdict.implementation.partition(":")[2]: None for part in equivalence for verdict in part.accused}
    names = {name for part in equivalence for name in part.checks}
    return Power(
        mutants={kind: (sum(bool(o.witnesses) for o in of), len(of)) for kind, of in kinds.items()},
        mechanisms=_by_mechanism(outcomes),
        table={kind: _by_mechanism(of) for kind, of in kinds.items()},
        missed=tuple(outcome.mutant for outcome in outcomes if not outcome.witnesses),
        unseen=tuple(sorted((mechanism, o.mutant) for o in outcomes if o.witnesses for mechanism in o.unseen)),
        variants=len(names),
        accused=tuple(accused),
        mutant_checks=sum(outcome.checks for outcome in outcomes),
        variant_checks=sum(sum(part.checks.values()) for part in equivalence),
    )


def _by_mechanism(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    shown = sorted({name for outcome in outcomes for name in (*outcome.witnesses, *outcome.unseen)})
    caught = {name: sum(name in outcome.witnesses for outcome in outcomes) for name in shown}
    return {name: (caught[name], caught[name] + sum(name in o.unseen for o in outcomes)) for name in shown}
