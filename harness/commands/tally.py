"""What the end of a run needs of all its verdicts, counted as they come, so that many take no more room than few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict

FIRST = 32
"""Failures kept of each implementation, check and status: a diagnosis rests on 6 cases of them."""
REASONS = 200
"""Distinct reasons counted for each implementation; a plan has some tens. What comes after them is counted as one."""
OTHER = "other reasons"


@dataclass
class Tally:
    """Verdicts, counted.

    counts    implementation -> status -> how many
    worst     implementation -> the largest share of a error bound, known failures aside
    reasons   (implementation, status, reason) of what was not checked -> how many
    behaviours   the verdicts on behaviours, asked in one case of each implementation
    failures  of what does not conform, the first of each implementation, check and status, in order
    """

    counts: dict[str, Counter[Status]] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)
    reasons: Counter[tuple[str, Status, str]] = field(default_factory=Counter)
    behaviours: list[Verdict] = field(default_factory=list)
    failures: list[Verdict] = field(default_factory=list)
    _distinct: Counter[str] = field(default_factory=Counter)
    _failed: Counter[tuple[str, str, Status]] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        name, status = verdict.implementation, verdict.status
        self.counts.setdefault(name, Counter())[status] += 1
        if status in NOT_CHECKED:
            self._count_reason(name, status, verdict.reason)
        if verdict.error_ratio is not None and status is not Status.KNOWN_FAILURE:
            self.worst[name] = max(self.worst.get(name, 0.0), verdict.error_ratio)
        if verdict.check.startswith("behaviour."):
            self.behaviours.append(verdict)
        if status in NONCONFORMING:
            kind = (name, verdict.check, status)
            self._failed[kind] += 1
            if self._failed[kind] <= FIRST:
                self.failures.append(verdict)

    def _count_reason(self, name: str, status: Status, reason: str) -> None:
        if (name, status, reason) not in self.reasons:
            if self._distinct[name] >= REASONS:
                reason = OTHER
            else:
                self._distinct[name] += 1
        self.reasons[name, status, reason] += 1

    @property
    def total(self) -> Counter[Status]:
        """How many of each status, over all implementations."""
        return sum(self.counts.values(), Counter())

    @property
    def checked(self) -> int:
        """How many checks were asked."""
        return sum(n for status, n in self.total.items() if status not in NOT_CHECKED)

    @property
    def conforms(self) -> bool:
        """Whether something was checked, and all of it conforms."""
        return self.checked > 0 and not any(self.total[status] for status in NONCONFORMING)


def tally(verdicts: Iterable[Verdict]) -> Tally:
    """Return verdicts, counted."""
    found = Tally()
    for verdict in verdicts:
        found.add(verdict)
    return found
