"""What `choose` finds for a problem: ranks, who is out and why, and the text for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from attention_harness.benchmark.ranking import Place, ranked, unreliable
from attention_harness.model import units
from attention_harness.model.case import Case
from attention_harness.model.measurement import Measurement


@dataclass
class Choice:
    """What was found. Ranks are of those that keep the limit on memory.

    gated     the case on which conformance was checked
    memory    bytes that one call may add, if there is a limit
    places    the ranks; withheld: why there are none, or ""
    out       implementation -> (status, reason)
    source    where the measurements are from; noise: how disturbed the machine was, where they were made now
    """

    case: Case
    gated: Case
    direction: str
    threads: int
    memory: int | None = None
    places: list[Place] = field(default_factory=list)
    out: dict[str, tuple[str, str]] = field(default_factory=dict)
    withheld: str = ""
    source: str = "measured now"
    noise: str = ""

    @property
    def recommended(self) -> list[str]:
        """The fastest, and those that no difference was found to."""
        return [place.implementation for place in self.places if place.rank == 1]

    def rank(self, rows: Sequence[Measurement]) -> None:
        """Rank what was measured and keeps the limit; what was not is out with its reason."""
        left = []
        for row in rows:
            if row.status != "measured":
                self.out.setdefault(row.implementation, (row.status, row.reason))
            elif why := over(row.peak_bytes, self.memory):
                self.out[row.implementation] = ("memory", why)
            else:
                left.append(row)
        self.withheld = unreliable(left) if len(left) > 1 else ""
        spoiled = [] if self.withheld else [row for row in left if row.answer == "unreliable"]
        self.out |= {row.implementation: ("unreliable", row.reason) for row in spoiled}
        left = [row for row in left if row not in spoiled]
        self.places = ranked(left) if left and not self.withheld else []

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "case": self.case.id,
            "gated": self.gated.id,
            "direction": self.direction,
            "threads": self.threads,
            "source": self.source,
            "withheld": self.withheld,
            "noise": self.noise,
            "places": self.places,
            "out": [{"implementation": n, "status": s, "reason": r} for n, (s, r) in self.out.items()],
            "recommended": self.recommended,
        }

    def text(self) -> str:
        """Return the ranks, who is out, and what is recommended."""
        direction = self.direction.replace("_", " and ")
        lines = [f"{self.case.id}, {direction}, {self.threads} thread(s), {self.source}"]
        if self.gated != self.case:
            lines.append(f"conformance was checked on the same at a shorter length: {self.gated.id}")
        lines += map(_line, self.places)
        if by_cpu := [place.implementation for place in self.places if place.clock == "cpu"]:
            who = "" if len(by_cpu) == len(self.places) else f" of {', '.join(by_cpu)}"
            lines.append(
                f"ratios{who} are of the thread's CPU time, since other work took the cores; times are on the wall"
            )
        if self.withheld:
            lines.append(f"no ranks: {self.withheld}; try again when the machine is quieter")
        lines += [f"out   {name}: {status}: {reason}" for name, (status, reason) in self.out.items()]
        return "\n".join([*lines, self._recommendation(), *filter(None, [self.noise])])

    def _recommendation(self) -> str:
        if not self.recommended:
            return "nothing can be recommended"
        best, *others = self.recommended
        ties = f" (or {', '.join(others)}: no difference that holds)" if others else ""
        limit = f" within {units.size(self.memory)}" if self.memory is not None else ""
        return f"recommended{limit}: {best}{ties}"


def over(peak: int | None, limit: int | None) -> str:
    """Return why a peak does not keep within a limit, or ""."""
    if limit is None or (peak is not None and peak <= limit):
        return ""
    if peak is None:
        return "its peak memory is not known here, so that the limit cannot be shown to hold"
    return f"one call adds {units.size(peak)} at its peak, the limit is {units.size(limit)}"


def _line(place: Place) -> str:
    ratio = f"{place.ratio:7.3f} [{place.low:.3f}, {place.high:.3f}]"
    peak = "" if place.peak_bytes is None else f"  {units.size(place.peak_bytes)} at the peak"
    ties = {"same": "  same as the first of its rank", "inconclusive": "  not told apart from the first of its rank"}
    tie = ties.get(place.answer, "")
    return f"{place.rank:<5} {place.implementation:18} {units.duration(place.seconds):>9}  {ratio}{peak}{tie}"
