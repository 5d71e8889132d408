"""A mutant: a wrong implementation made on purpose, by a small change of eager's source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attention_harness.mutation.patching import Patches, patched_eager, reached_mechanisms
from attention_harness.registry import Implementation


@dataclass(frozen=True, slots=True)
class Mutant:
    """kind: what it gets wrong. cites: where the like has shipped."""

    name: str
    kind: str
    patches: Patches
    cites: str = ""

    def implementation(self) -> Implementation:
        """Return eager with the mutation in it; its name is `mutant:NAME`."""
        return patched_eager(f"mutant:{self.name}", self.patches)

    def mechanisms(self) -> tuple[str, ...]:
        """Return the mechanisms whose code the patches reach."""
        return reached_mechanisms(self.name, self.patches)


def mutants(kind: str, rows: Iterable[tuple[str, ...]]) -> tuple[Mutant, ...]:
    """Return mutants of one patch each from rows (name, what stands in the source, what replaces it[, cites])."""
    return tuple(Mutant(name, kind, ((stands, put),), *cites) for name, stands, put, *cites in rows)
