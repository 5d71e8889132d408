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
        ratio = self.error_ratio
        numbers = "gives nearly the same numbers" if ratio and ratio > 1 else "gives the same numbers"
        how = "fails in the same way" if ratio is None else numbers
        within = "" if ratio is None else f", to within {ratio:.2g} of the error bound"
        return f"{self.mutant} ({how} on {self.agreed} of {self.cases} cases{within})"


Matches = Annotated[tuple[Match, ...], Meta(max_length=1_000)]


class Diagnosis(Stored, frozen=True):
    """What was found for one implementation.

    note         why nothing was found, or what else is wrong; "" where the matches say it all
    mutants      that were tried, on so many cases
    out_of_time  whether time ran out before the matches were told apart
    """

    implementation: Name
    matches: Matches
    note: Text = ""
    mutants: Count = 0
    cases: Count = 0
    out_of_time: bool = False

    @property
    def lines(self) -> list[str]:
        """What a reader is told."""
        lines = [f"{'matches' if match.agreed == match.cases else 'resembles'}: {match}" for match in self.matches]
        lines += [self.note] if self.note else []
        if self.mutants:
            found = "" if self.matches else "none explains it: "
            late = "; time ran out" if self.out_of_time else ""
            cases = f"{self.cases} case{'' if self.cases == 1 else 's'}"
            lines.append(f"{found}{self.mutants} mutants were tried, on {cases}{late}")
        return lines
