"""How near a call comes to what this machine can do: the counts of its formula, and the ceiling that binds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from attention_harness.benchmark.ceilings import BYTES
from attention_harness.benchmark.costs import Cost, cost
from attention_harness.cases.ids import parse
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Ceiling, Record

STALE = "above its ceiling: the denominator is stale or contended"
TOO_FAST = "faster than this machine's ceiling allows, by more than the ceiling is uncertain: no such time is believed"
UNCERTAIN = 1.5
"""A ceiling is the best that torch's own operations reached within 60 ms. Others may be better by so much at least."""


class Ceilings:
    """The best rates of all records: (kind, dtype, threads, clock) -> units a second."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.rates: dict[tuple[str, str, int, str], float] = {}
        self.lowest: dict[tuple[str, str, int, str], float] = {}
        self.caches: dict[str, int] = {}
        for record in records:
            if not isinstance(record, Ceiling):
                continue
            self.caches |= record.caches
            for clock, rate in (("wall", record.wall), ("cpu", record.cpu)):
                key = (record.kind, record.dtype, record.threads, clock)
                if rate is not None:
                    self.rates[key] = max(self.rates.get(key, 0.0), rate)
                    self.lowest[key] = min(self.lowest.get(key, rate), rate)

    def uncertainty(self, kind: str, dtype: str, threads: int, clock: str) -> float:
        """Return by which factor a ceiling may be too low: as its readings differ, and `UNCERTAIN` at least."""
        key = (kind, BYTES if kind.startswith("copy in ") else dtype, threads, clock)
        return max(UNCERTAIN, self.rates[key] / self.lowest[key])

    def level(self, footprint: float) -> str:
        """Return which memory holds so many bytes; half of a cache, since a copy holds them twice."""
        return next((name for name, size in self.caches.items() if footprint <= size / 2), "DRAM")

    def binding(self, cost: Cost, dtype: str, threads: int, clock: str) -> tuple[str, float] | None:
        """Return the ceiling that binds, and the seconds below which it lets no call come; None if not measured."""
        copy = f"copy in {self.level(cost.footprint)}"
        amounts = {"matrix product": cost.flops, "softmax": cost.softmax, "tanh": cost.tanh, copy: cost.moved}
        times = {}
        for kind, amount in amounts.items():
            rate = self.rates.get((kind, BYTES if kind == copy else dtype, threads, clock))
            if amount and rate is None:
                return None
            times[kind] = amount / rate if amount and rate else 0.0
        kind = max(times, key=lambda name: times[name])
        return (kind, times[kind]) if times[kind] > 0 else None


def with_ceilings(rows: Iterable[Measurement], records: Iterable[Record]) -> Iterator[Measurement]:
    """Yield measurements with counts and ceilings; what was not measured stays as it is."""
    best = Ceilings(records)
    for row in rows:
        yield _with_ceiling(row, best) if row.status == "measured" else row


def _with_ceiling(row: Measurement, best: Ceilings) -> Measurement:
    case = parse(row.case)
    counted = cost(case, row.direction)
    row = replace(
        row,
        flops=float(counted.flops),
        moved_bytes=float(counted.moved),
        least_bytes=float(counted.least_memory),
        written_bytes=float(counted.written_out),
    )
    clock = row.clock or "wall"
    bound = best.binding(counted, case.dtype, row.threads, clock) if case.device == "cpu" else None
    passes = row.cpu_s if clock == "cpu" else row.wall_s
    if bound is None or not passes:
        return row
    seconds = statistics.median(statistics.median(samples) for samples in passes)
    reached = bound[1] / seconds if seconds > 0 else 0.0
    why = STALE if reached > 1 else ""
    if reached > best.uncertainty(bound[0], case.dtype, row.threads, clock) and row.answer not in ("", "baseline"):
        row, why = replace(row, answer="unreliable", reason=_and(row.reason, TOO_FAST)), ""
    return replace(row, ceiling=bound[0], ceiling_share=reached, reason=_and(row.reason, why))


def _and(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))
