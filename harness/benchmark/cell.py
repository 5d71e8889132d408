"""One cell of a campaign: who is timed in it, who is not and why, and the measurements that its passes make."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from attention_harness.benchmark import statistics as judging
from attention_harness.benchmark.statistics import Pass, thinned
from attention_harness.benchmark.worker import AA_CONTROL
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.model.case import Case
from attention_harness.model.measurement import Measurement


@dataclass
class Cell:
    """One case of a workload in one direction: who is timed in it, who is not and why, and what each pass brought.

    taken   for each pass: arm -> its samples' record, or its error's
    level   of the confidence that is asked for
    """

    workload: Workload
    case: Case
    threads: int
    level: float
    direction: str = "forward"
    arms: list[str] = field(default_factory=list)
    excluded: dict[str, tuple[str, str]] = field(default_factory=dict)
    taken: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    remark: str = ""

    @property
    def asked(self) -> Case:
        """The case on which the gate asks: its own, or the shorter one that stands for it."""
        if not self.workload.gated_on:
            return self.case
        return replace(parse(self.workload.gated_on), dtype=self.case.dtype, device=self.case.device)

    @property
    def id(self) -> str:
        """Name in the records of a pass: the case and, where it is not forward, the direction."""
        return self.case.id if self.direction == "forward" else f"{self.case.id} {self.direction}"

    def blank(self, name: str, status: str, reason: str) -> Measurement:
        """Return the measurement of an implementation that was not timed."""
        where = (self.case.mechanism, self.workload.name, self.case.id, self.threads)
        return Measurement(name, *where, status, reason, direction=self.direction)  # type: ignore[arg-type]


def combined(cell: Cell, baseline: str) -> Iterator[Measurement]:
    """Yield what all passes say of each arm of a cell."""
    for name in cell.arms:
        brought = [taken.get(name) for taken in cell.taken]
        measured = [record for record in brought if record and record["event"] == "samples"]
        lost = [
            f"pass {number}: {record['reason']}"
            for number, record in enumerate(brought, 1)
            if record and record["event"] == "error"
        ]
        if measured:
            yield _compared(_timed(cell, name, measured, "; ".join(lost)), cell, baseline)
        else:
            yield cell.blank(name, "error", lost[0] if lost else "no pass was finished")


def _timed(cell: Cell, name: str, records: Sequence[dict[str, Any]], lost: str) -> Measurement:
    """Return the measurement of an arm by itself."""
    peaks = [record["peak_bytes"] for record in records if record["peak_bytes"] is not None]
    on_host = cell.case.device == "cpu"
    if any(record.get("allocated") for record in records):
        lost = "; ".join(filter(None, (lost, "the allocator asked the device for memory while it was timed")))
    return structs.replace(
        cell.blank(name, "error", "unfinished"),
        status="measured",
        reason=lost,
        prepare_s=tuple(record["prepare_s"] for record in records),
        first_call_s=records[0]["first_call_s"],
        calls_per_sample=round(statistics.median(record["calls"] for record in records)),
        wall_s=tuple(thinned(record["wall_s"]) for record in records),
        cpu_s=tuple(thinned(record["cpu_s"]) for record in records) if all(r["cpu_s"] for r in records) else (),
        minor_faults_per_call=statistics.median(record["faults"] for record in records) if on_host else None,
        peak_bytes=max(peaks, default=None),
        cold_s=tuple(thinned(r["cold_s"]) for r in records if r.get("cold_s")),
        device_mhz=tuple(r["device_mhz"] for r in records if r.get("device_mhz")),
        gated_on=cell.asked.id if cell.workload.gated_on else "",
    )


def _compared(row: Measurement, cell: Cell, baseline: str) -> Measurement:
    """Add the comparison with the baseline, over the passes that have it, its A/A control and this arm."""
    names = (row.implementation, baseline, baseline + AA_CONTROL)
    common = [
        [taken[name] for name in names]
        for taken in cell.taken
        if all(taken.get(name, {}).get("event") == "samples" for name in names)
    ]
    if not common:
        return structs.replace(row, reason="; ".join(filter(None, (_no_baseline(cell, baseline), row.reason))))
    arm, base, aa_control = (
        [Pass(tuple(r["wall_s"]), tuple(r["cpu_s"]), frozenset(r.get("cut", ()))) for r in side]
        for side in zip(*common, strict=True)
    )
    one_thread = cell.threads == 1 and all(record["one_thread"] for side in common for record in side)
    waits = any(record.get("waits", False) for record, _, _ in common)
    found = judging.compare(arm, base, aa_control, one_thread=one_thread, waits=waits, level=cell.level)
    itself = row.implementation == baseline
    remark = cell.remark if found.answer in ("inconclusive", "unreliable") and not itself else ""
    return structs.replace(
        row,
        reason="; ".join(filter(None, (found.reason, row.reason, remark))),
        baseline=baseline,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        level=found.level,
        clock=found.clock,
        preempted=found.preempted if row.cpu_s else None,
        answer="baseline" if itself else found.answer,
        detectable=None if itself else found.detectable,
        sentinel_ratio=found.sentinel_ratio,
        pass_ratios=found.pass_ratios,
    )


def _no_baseline(cell: Cell, baseline: str) -> str:
    status, why = cell.excluded.get(baseline, ("", ""))
    told = f" ({status}: {why})" if status else ""
    return f"no ratio: the baseline {baseline} was not measured here{told}"
