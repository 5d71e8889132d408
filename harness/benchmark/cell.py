"""One cell of a campaign: who is timed in it, who is not and why, and the measurements that its passes make."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from msgspec import structs

from attention_harness.benchmark import statistics as judging
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.statistics import Pass, thinned
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.model.case import Case
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Failed, Record, Sampled


@dataclass
class Cell:
    """One case of a workload in one direction, with a number of threads.

    level      of confidence that its answers need
    arms       who is timed; excluded: who is not -> status and reason
    passes     for each pass: arm -> its samples, or why there are none
    remark     on an answer that stays open
    """

    workload: Workload
    case: Case
    threads: int
    level: float
    direction: str = "forward"
    arms: list[str] = field(default_factory=list)
    excluded: dict[str, tuple[str, str]] = field(default_factory=dict)
    passes: list[dict[str, Sampled | Failed]] = field(default_factory=list)
    remark: str = ""

    @property
    def gated_case(self) -> Case:
        """The case on which conformance is checked: its own, or the shorter one that stands for it."""
        if not self.workload.gated_on:
            return self.case
        return replace(parse(self.workload.gated_on), dtype=self.case.dtype, device=self.case.device)

    @property
    def id(self) -> str:
        """Name in the records of a pass: the case and, where it is not forward, the direction."""
        return self.case.id if self.direction == "forward" else f"{self.case.id} {self.direction}"

    def add_pass(self, records: Sequence[Record]) -> None:
        """Take from the records of a pass what is of this cell. A whole cell's failure is one of every arm."""
        results: dict[str, Sampled | Failed] = {}
        for record in records:
            if isinstance(record, Sampled | Failed) and record.cell == self.id:
                results[record.arm] = record
        if "" in results:
            results = dict.fromkeys(self.arms, results.pop("")) | results
        self.passes.append(results)

    def not_timed(self, name: str, status: str, reason: str) -> Measurement:
        """Return the measurement of an implementation that was not timed."""
        where = (self.case.mechanism, self.workload.name, self.case.id, self.threads)
        return Measurement(name, *where, status, reason, direction=self.direction)  # type: ignore[arg-type]

    def measurements(self, baseline: str) -> Iterator[Measurement]:
        """Yield what all passes say of each arm, compared with the baseline."""
        yield from _spoiled([self._measurement(name, baseline) for name in self.arms])

    def _measurement(self, name: str, baseline: str) -> Measurement:
        results = [one.get(name) for one in self.passes]
        samples = [record for record in results if isinstance(record, Sampled)]
        lost = [f"pass {n}: {record.reason}" for n, record in enumerate(results, 1) if isinstance(record, Failed)]
        if wrong := next((one.reason for one in results if isinstance(one, Failed) and one.wrong), ""):
            return self.not_timed(name, "refused", wrong)
        if samples:
            return _compared(_timed(self, name, samples, "; ".join(lost)), self, baseline)
        return self.not_timed(name, "error", lost[0] if lost else "no pass was finished")

    def is_open(self, baseline: str) -> bool:
        """Return whether more passes could give an answer that is withheld so far."""
        return any(row.answer in ("inconclusive", "unreliable") for row in self.measurements(baseline))


def _timed(cell: Cell, name: str, records: Sequence[Sampled], lost: str) -> Measurement:
    """Return the measurement of an arm by itself."""
    peaks = [record.peak_bytes for record in records if record.peak_bytes is not None]
    if any(record.allocated for record in records):
        lost = _joined(lost, "the allocator asked the device for memory while it was timed")
    return structs.replace(
        cell.not_timed(name, "error", "unfinished"),
        status="measured",
        reason=lost,
        prepare_s=tuple(record.prepare_s for record in records),
        first_call_s=records[0].first_call_s,
        calls_per_sample=round(statistics.median(record.calls for record in records)),
        wall_s=tuple(thinned(record.wall_s) for record in records),
        cpu_s=tuple(thinned(record.cpu_s) for record in records) if all(one.cpu_s for one in records) else (),
        minor_faults_per_call=statistics.median(one.faults for one in records) if cell.case.device == "cpu" else None,
        peak_bytes=max(peaks, default=None),
        cold_s=tuple(thinned(record.cold_s) for record in records if record.cold_s),
        device_mhz=tuple(record.device_mhz for record in records if record.device_mhz),
        gated_on=cell.gated_case.id if cell.workload.gated_on else "",
    )


def _compared(row: Measurement, cell: Cell, baseline: str) -> Measurement:
    """Add the comparison with the baseline, over the passes that have it, its A/A control and this arm."""
    sides = _in_common(cell, (row.implementation, baseline, baseline + AA_CONTROL))
    if not sides:
        return structs.replace(row, reason=_joined(_no_baseline(cell, baseline), row.reason))
    arm, base, control = ([Pass(one.wall_s, one.cpu_s, frozenset(one.cut)) for one in side] for side in sides)
    one_thread = cell.threads == 1 and all(record.one_thread for side in sides for record in side)
    waits = any(record.waits for record in sides[0])
    found = judging.compare(arm, base, control, one_thread=one_thread, waits=waits, level=cell.level)
    itself = row.implementation == baseline
    remark = cell.remark if found.answer in ("inconclusive", "unreliable") and not itself else ""
    fields = asdict(found) | {"baseline": baseline, "reason": _joined(found.reason, row.reason, remark)}
    if itself:
        fields |= {"answer": "baseline", "detectable": None}
    if not row.cpu_s:
        fields["preempted"] = None
    return structs.replace(row, **fields)


def _spoiled(rows: Sequence[Measurement]) -> Iterator[Measurement]:
    """Yield the rows; where the baseline's A/A control is off over all of its passes, none on its clock has an answer.

    An arm that lost passes is compared over the others, in which the control may have been near 1 by luck.
    """
    base = next((row for row in rows if row.answer == "baseline"), None)
    off = "" if base is None else judging.drifted(base.control_ratio or 1.0)
    for row in rows:
        if off and base and row.clock == base.clock and row.answer in ("faster", "slower", "same", "inconclusive"):
            row = structs.replace(row, answer="unreliable", reason=_joined(off, row.reason))
        yield row


def _in_common(cell: Cell, names: Sequence[str]) -> list[list[Sampled]]:
    """Return the samples of each name, over the passes that have them of all."""
    every = [[one.get(name) for name in names] for one in cell.passes]
    whole = [records for records in every if all(isinstance(record, Sampled) for record in records)]
    return [list(side) for side in zip(*whole, strict=True)]  # type: ignore[arg-type]


def _no_baseline(cell: Cell, baseline: str) -> str:
    status, why = cell.excluded.get(baseline, ("", ""))
    because = f" ({status}: {why})" if status else ""
    return f"no ratio: the baseline {baseline} was not measured here{because}"


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))
