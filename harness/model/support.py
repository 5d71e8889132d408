"""What is known of an option in an implementation: its declaration, and counts of verdicts on cases that have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Support:
    """One option of one implementation. Uninformative passes are in no count."""

    declared: bool
    passed: int = 0
    nonconforming: int = 0
    known_failures: int = 0

    @property
    def text(self) -> str:
        """The cell of a table: the declaration, and the counts."""
        if not self.declared:
            return "not declared"
        known = [f"{self.known_failures:,} known failure{'' if self.known_failures == 1 else 's'}"]
        if self.nonconforming:
            checked = self.passed + self.nonconforming + self.known_failures
            return f"does not conform ({self.nonconforming:,} of {checked:,})"
        if self.passed:
            return f"pass ({'; '.join([f'{self.passed:,}', *(known if self.known_failures else [])])})"
        return f"declared ({known[0]})" if self.known_failures else "declared"


SupportTable = Mapping[str, Mapping[str, Support]]
"""Implementation -> option, under the name by which it is declared -> what is known of it."""
