"""Two runs -> what changed between them: pure functions.

Verdicts and error shares are deterministic: a change is a change. Times are not. Milliseconds of two runs do not
compare at all; what compares is R, an implementation's time over the baseline's in the same cell. With half widths h of
the intervals of log R,

    d = log R_head - log R_base,   h = sqrt(h_head^2 + h_base^2),   suspect where |d| - h > log(1.05)

(`BENCHMARKING` section 1, "Between runs"). A suspect becomes a regression only when it is measured again and agrees.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.report import words
from attention_harness.store import Run

SUSPECT = 0.05  # smallest change of a ratio between runs that is looked at
SHARE_FACTOR, SHARE_LEAST = 2.0, 0.1  # an error share moved if by this factor and by this much of the error bound
MEMORY_FACTOR, MEMORY_LEAST = 1.1, 4 << 20  # peak memory moved: it is known to about 2 MiB at either end
_FAULTS = 10  # minor faults for each call from which an allocator maps its memory anew

NEWLY_WRONG = "newly wrong"

_Key = tuple[str, str, str]
"""An implementation, a case and a check."""


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A check that answers otherwise. before, after: statuses, "" where it was not planned."""

    kind: str
    implementation: str
    case: str
    check: str
    before: str
    after: str
    reason: str = ""
    replay: str = ""


@dataclass(frozen=True, slots=True)
class AccuracyChange:
    """A check that passes in both runs, with another error ratio."""

    implementation: str
    case: str
    check: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class CostChange:
    """A time or memory that changed beyond doubt of the two runs.

    quantity           time: ratio to the baseline; memory: bytes at the peak of one call
    change, low, high  after over before, with its interval; memory has none
    state              suspect; confirmed or refuted (measured again); unconfirmed (it could not be), with the reason
    """

    quantity: str
    implementation: str
    workload: str
    case: str
    direction: str
    threads: int
    before: float
    after: float
    change: float
    low: float | None
    high: float | None
    state: str = "suspect"
    reason: str = ""

    @property
    def worse(self) -> bool:
        """Slower or larger than before."""
        return self.change > 1

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """The implementation and its cell, as in `Measurement.key`."""
        return self.implementation, self.workload, self.case, self.direction, self.threads


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed from a run to another.

    barriers   why no time or memory of the two can be compared; empty where they can
    refused    of single cells: why not -> how many
    notes      what else limits the comparison
    compared   how many verdicts, times and peaks stand in both
    """

    verdicts: tuple[VerdictChange, ...]
    accuracy: tuple[AccuracyChange, ...]
    costs: tuple[CostChange, ...]
    barriers: tuple[str, ...]
    refused: Mapping[str, int]
    notes: tuple[str, ...]
    compared: Mapping[str, int]

    @property
    def regressions(self) -> list[VerdictChange | CostChange]:
        """What is confirmed and worse: a newly wrong verdict is by itself."""
        wrong = [change for change in self.verdicts if change.kind == NEWLY_WRONG]
        return [*wrong, *(cost for cost in self.costs if cost.worse and cost.state == "confirmed")]

    @property
    def suspects(self) -> list[CostChange]:
        """What looks changed and was not measured again."""
        return [cost for cost in self.costs if cost.state == "suspect"]

    @property
    def unconfirmed(self) -> list[CostChange]:
        """What looks worse and could not be measured again."""
        return [cost for cost in self.costs if cost.worse and cost.state == "unconfirmed"]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"regressions": len(self.regressions)}


def compare(base: Run, head: Run) -> Changes:
    """Return what changed from base to head."""
    barriers = tuple(incomparable(base.facts.environment, head.facts.environment))
    before, after = ({(v.implementation, v.case, v.check): v for v in run.verdicts} for run in (base, head))
    common = [key for key in before if key in after]
    verdicts = list(_verdicts(before, after))
    verdicts += _no_longer_timed(base, head, verdicts)
    accuracy = tuple(change for key in common if (change := _moved(before[key], after[key])))
    counts, refused = Counter(verdicts=len(common), times=0, peaks=0), Counter[str]()
    costs = () if barriers else tuple(_costs(base, head, counts, refused))
    return Changes(tuple(verdicts), accuracy, costs, barriers, dict(refused), tuple(_notes(base, head)), dict(counts))


def incomparable(here: Environment, there: Environment) -> list[str]:
    """Return why times under two environments cannot be compared; verdicts can all the same."""
    ours, theirs = _identity(here), _identity(there)
    names = dict.fromkeys((*ours, *theirs))
    both = {name: (ours.get(name, "none"), theirs.get(name, "none")) for name in names}
    return [f"{name}: {before} and {after}" for name, (before, after) in both.items() if before != after]


def _identity(environment: Environment) -> dict[str, Any]:
    processor = environment.processor
    about = {
        "processor": processor and processor.model,
        "vector extensions": processor and ", ".join(processor.extensions),
        "cores": environment.cores,
        "CUDA devices": ", ".join(device.name for device in environment.cuda) or "none",
        "python": environment.python,
    }
    return about | {name: version for name, version in environment.packages.items() if name != "pytest-benchmark"}


def _notes(base: Run, head: Run) -> Iterable[str]:
    for name, run in (("BASE", base), ("HEAD", head)):
        if not run.facts.finished:
            yield f"{name} ({run.directory}) was not finished: what it lacks is listed as gone or new"
    files = [run.facts.implementations for run in (base, head)]
    changed = [n for n in files[0] if n in files[1] and files[0][n].sha256 != files[1][n].sha256]
    if changed:
        yield f"files that changed: {', '.join(changed)}"


# --- verdicts


def _verdicts(before: Mapping[_Key, Verdict], after: Mapping[_Key, Verdict]) -> Iterator[VerdictChange]:
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        latest = new or old
        if latest and (kind := _kind(old.status if old else None, new.status if new else None)):
            statuses = str(old.status if old else ""), str(new.status if new else "")
            yield VerdictChange(kind, *key, *statuses, latest.reason, latest.replay)


def _kind(before: Status | None, after: Status | None) -> str:
    """Return how a status changed, or ""."""
    if before == after:
        return ""
    if after is None:
        return "gone"
    if before is None:
        return "new and wrong" if after in NONCONFORMING else "new"
    if after in NONCONFORMING:
        return "otherwise wrong" if before in NONCONFORMING else NEWLY_WRONG
    if after in NOT_CHECKED:
        return f"newly {after}"
    if after is Status.KNOWN_FAILURE:
        return "newly a known failure"
    return "newly checked" if before in NOT_CHECKED else "newly right"


def _moved(before: Verdict, after: Verdict) -> AccuracyChange | None:
    """Return the change of a share that counts, in either direction."""
    if before.error_ratio is None or after.error_ratio is None or not before.status == after.status == Status.PASS:
        return None
    small, large = sorted((before.error_ratio, after.error_ratio))
    if large - small <= SHARE_LEAST or large <= SHARE_FACTOR * small:
        return None
    return AccuracyChange(after.implementation, after.case, after.check, before.error_ratio, after.error_ratio)


# --- times and memory


def _costs(base: Run, head: Run, counts: Counter[str], refused: Counter[str]) -> Iterator[CostChange]:
    """Yield what changed; count in `counts` what was compared, and in `refused` by reason what was not."""
    earlier = {row.key: row for row in base.measurements}
    moved = _baselines_that_changed(base, head)
    refused.update((*_alone(base, head, "BASE"), *_alone(head, base, "HEAD")))
    for after in head.measurements:
        before = earlier.get(after.key)
        if before is None or not before.status == after.status == "measured":
            continue
        found = []
        if before.peak_bytes is not None and after.peak_bytes is not None:
            counts["peaks"] += 1
            found.append(_memory(before, after))
        if after.answer != "baseline":
            if why := _refused(before, after, moved):
                refused[why] += 1
            else:
                counts["times"] += 1
                found.append(time_change(before, after))
        yield from filter(None, found)


def _alone(run: Run, other: Run, name: str) -> Iterator[str]:
    """Yield for each time of a run that the other run does not have why it has not."""
    there = {row.key: row for row in other.measurements}
    for row in run.measurements:
        counterpart = there.get(row.key)
        if row.status != "measured" or row.answer == "baseline" or (counterpart and counterpart.status == "measured"):
            continue
        if counterpart:
            yield f"timed in {name} alone: {counterpart.status} in the other run"
        elif found := [str(one.threads) for one in other.measurements if one.key[:-1] == row.key[:-1]]:
            yield f"timed in {name} alone: {row.threads} threads there, {', '.join(found)} in the other run"
        else:
            yield f"timed in {name} alone"


def _no_longer_timed(base: Run, head: Run, changes: Sequence[VerdictChange]) -> list[VerdictChange]:
    """Return what was timed before and is wrong now, where no verdict of its says so already.

    Once for a case, whatever directions and threads it was timed with. What an interrupted run lacks is no error.
    """
    earlier = {row.key: row for row in base.measurements if row.status == "measured"}
    known = {(one.implementation, one.case) for one in changes if one.kind == NEWLY_WRONG}
    found: dict[tuple[str, str], VerdictChange] = {}
    for row in head.measurements:
        if row.key not in earlier or not row.wrong or (row.status == "error" and not head.facts.finished):
            continue
        where = row.implementation, earlier[row.key].gated_on or row.case
        if where not in known:
            found[where] = VerdictChange(NEWLY_WRONG, *where, "timing", "measured", row.status, row.reason)
    return list(found.values())


def _baselines_that_changed(base: Run, head: Run) -> set[str]:
    digests = [{name: one.sha256 for name, one in run.facts.implementations.items()} for run in (base, head)]
    names = {row.baseline for row in head.measurements if row.baseline}
    return {name for name in names if digests[0].get(name) != digests[1].get(name)}


def _refused(before: Measurement, after: Measurement, moved: set[str]) -> str:
    """Return why two ratios of a cell cannot be compared, or ""."""
    if before.baseline != after.baseline:
        return f"another baseline: {before.baseline or 'none'} and {after.baseline or 'none'}"
    if after.baseline in moved:
        return f"the baseline {after.baseline} itself changed, and every ratio with it: use bench against"
    if before.low is None or after.low is None:
        return "no interval: fewer than 2 passes, or nothing to compare with"
    if "unreliable" in (before.answer, after.answer):
        return "unreliable in one of the runs"
    if before.clock != after.clock:
        return "another clock: wall time and CPU time"
    faults = [row.minor_faults_per_call for row in (before, after)]
    if None not in faults and len({count > _FAULTS for count in faults if count is not None}) > 1:
        return "another state of the allocator: page faults at each call in one of the runs alone"
    return ""


def time_change(before: Measurement, after: Measurement) -> CostChange | None:
    """Return the change of a ratio that is suspect by the two intervals, or None."""
    change, half = difference(before, after)
    if abs(change) - half <= math.log1p(SUSPECT):
        return None
    values = before.ratio or 0.0, after.ratio or 0.0, math.exp(change), math.exp(change - half), math.exp(change + half)
    return CostChange("time", *after.key, *values)


def difference(before: Measurement, after: Measurement) -> tuple[float, float]:
    """Return d and h: the change of the log ratio, and the half width of its interval. Both have an interval."""
    (old, old_half), (new, new_half) = (
        (math.log(row.ratio or math.nan), math.log((row.high or math.nan) / (row.low or math.nan)) / 2)
        for row in (before, after)
    )
    return new - old, math.hypot(old_half, new_half)


def _memory(before: Measurement, after: Measurement) -> CostChange | None:
    old, new = before.peak_bytes or 0, after.peak_bytes or 0
    small, large = sorted((old, new))
    if large - small <= MEMORY_LEAST or large <= MEMORY_FACTOR * small:
        return None
    return CostChange("memory", *after.key, old, new, new / old if old else math.inf, None, None)


# --- measured again


def settled(change: CostChange, before: Measurement, again: Measurement) -> CostChange:
    """Return a suspect as a third measurement settles it: confirmed only if that says the same by the same rule."""
    if again.status != "measured":
        return replace(change, state="unconfirmed", reason=f"{again.status}: {again.reason}")
    if change.quantity == "memory":
        found = _memory(before, again)
        reason = f"measured again: {words.size(again.peak_bytes)}"
    elif why := _refused(before, again, set()):
        return replace(change, state="unconfirmed", reason=why)
    else:
        found, reason = time_change(before, again), f"measured again: ratio {again.ratio:.3f}"
    agrees = found is not None and found.worse == change.worse
    return replace(change, state="confirmed" if agrees else "refuted", reason=reason)
