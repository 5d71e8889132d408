"""What may have caused the failures of an implementation: the mutants that fail in the same way."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from attention_harness.model.stored import Amount, Count, Name, Positive, Stored, Text


class Match(Stored, frozen=True):
    """A mutant that answers as the implementation does.

    place        1 is the likeliest; mutants that no tried case tells apart share one
    error_ratio  largest difference from the mutant's numbers over what is allowed; None where none compare
    agreed       of the tried cases, those on which both answer alike
    """

    mutant: Name
    kind: Name
    cites: Text
    place: Positive
    error_ratio: Amount | None
    agreed: Count
    cases: Count

    def __str__(self) -> str:
        how = "fails in the same way" if self.error_ratio is None else "gives the same numbers"
        within = "" if self.error_ratio is None else f", to within {self.error_ratio:.2g} of the error bound"
        return f"{self.mutant} ({how} on {self.agreed} of {self.cases} cases{within})"


Matches = Annotated[tuple[Match, ...], Meta(max_length=1_000)]


class Diagnosis(Stored, frozen=True):
    """What was found for one implementation. note: why nothing was, or "" when there are matches."""

    implementation: Name
    matches: Matches
    note: Text = ""
