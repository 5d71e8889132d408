"""Where implementations disagree: pairs of them, over the checks that both were asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attention_harness.model.verdict import NOT_CHECKED, Status, Verdict

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two implementations. different: checks that one passes and the other does not; both: checks of both."""

    one: str
    other: str
    different: int
    both: int

    @property
    def text(self) -> str:
        return f"{self.different:,} of {self.both:,}" if self.both else "none in common"


@dataclass(frozen=True, slots=True)
class Disagreements:
    """rows: for each implementation its pairs with the others, None with itself, in the order of `names`."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Pair | None, ...]], ...]

    @property
    def any(self) -> bool:
        return any(pair and pair.different for _, pairs in self.rows for pair in pairs)


def disagreements(verdicts: Sequence[Verdict]) -> Disagreements:
    """Return the pairs of all that were checked. A check is a case and a name; behaviours are measured, not passed."""
    passed: dict[str, dict[_Key, bool]] = {}
    for verdict in verdicts:
        if verdict.status not in NOT_CHECKED and not verdict.finding:
            key = verdict.case, verdict.check
            passed.setdefault(verdict.implementation, {})[key] = verdict.status is Status.PASS
    names = tuple(passed)
    pairs = {(a, b): _pair(a, b, passed) for n, a in enumerate(names) for b in names[n + 1 :]}
    rows = tuple((a, tuple(pairs.get((a, b)) or pairs.get((b, a)) for b in names)) for a in names)
    return Disagreements(names, rows)


def _pair(one: str, other: str, passed: Mapping[str, Mapping[_Key, bool]]) -> Pair:
    ours, theirs = passed[one], passed[other]
    both = ours.keys() & theirs.keys()
    return Pair(one, other, sum(ours[key] is not theirs[key] for key in both), len(both))
