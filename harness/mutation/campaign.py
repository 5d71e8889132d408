"""What a measurement of the mutation score runs: which mutants and equivalent variants, on which cases."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.mutation.equivalent import VARIANTS, EquivalentVariant
from attention_harness.mutation.mutants import MUTANTS, Mutant
from attention_harness.mutation.patching import source_of_eager

PART = 8
"""Cases of one task of the variants: enough to share their error bounds, few enough to lose little by a kill."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """Mutants with their cases, and equivalent variants with theirs.

    Each mutant is run in every mechanism that its patch reaches, until a verdict there kills it. Each variant is run on
    every case.
    """

    mutants: tuple[Mutant, ...]
    mutant_cases: tuple[str, ...]
    variants: tuple[EquivalentVariant, ...] = ()
    variant_cases: tuple[str, ...] = ()

    @property
    def parts(self) -> list[tuple[str, ...]]:
        """The variants' cases in parts, each of which is one task."""
        cases = self.variant_cases if self.variants else ()
        return [cases[at : at + PART] for at in range(0, len(cases), PART)]

    @property
    def tasks(self) -> int:
        """How many results a complete run has."""
        return len(self.mutants) + len(self.parts)

    @property
    def plan(self) -> str:
        """A digest of all that decides the results: a resumed run must have the same."""
        return hashlib.sha256(f"{self!r}{source_of_eager()}".encode()).hexdigest()


def plan_campaign(names: Sequence[str], tier: str, cases: Sequence[str] = ()) -> Campaign:
    """Return the campaign of the named mutants and variants, all if none is named, on a tier's cases or the named ones.

    Mutants run on the cases of the tier. Variants run on the thorough ones, since one false accusation refutes the suite.
    """
    mutants, variants = select(names)
    if cases:
        ids = tuple(parse(text).id for text in cases)
        return Campaign(tuple(mutants), ids, tuple(variants), ids)
    variant_tier = "quick" if tier == "quick" else "thorough"
    return Campaign(tuple(mutants), _ordered(tier), tuple(variants), _ordered(variant_tier) if variants else ())


def select(names: Sequence[str]) -> tuple[list[Mutant], list[EquivalentVariant]]:
    """Return the mutants and the variants of these names; all of both when none is named."""
    if not names:
        return list(MUTANTS), list(VARIANTS)
    mutants = {mutant.name: mutant for mutant in MUTANTS}
    variants = {variant.name: variant for variant in VARIANTS}
    for name in names:
        if name not in mutants and name not in variants:
            near = difflib.get_close_matches(name, [*mutants, *variants], 3, 0.5)
            guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise HarnessError(
                f"no mutant or equivalent variant {name!r}.{guess} `attention-harness list mutants` names the mutants"
            )
    return [mutants[name] for name in names if name in mutants], [variants[name] for name in names if name in variants]


def _ordered(tier: str) -> tuple[str, ...]:
    """Return the cases of a tier: what kills most mutants first, what takes long last."""
    quick = set(matrix("quick"))

    def late(case: Case) -> tuple[bool, bool]:
        return "dropout" in case.options, case not in quick

    return tuple(case.id for case in sorted(matrix(tier), key=late))
