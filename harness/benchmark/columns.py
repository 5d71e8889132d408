"""What stands beside a time: the counts of its formula, and the part of a ceiling that it reaches. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from attention_harness.benchmark.ceilings import Ceilings
from attention_harness.benchmark.costs import cost
from attention_harness.benchmark.pass_log import Kept
from attention_harness.cases.ids import parse
from attention_harness.model.measurement import Measurement

STALE = "above its ceiling: the denominator is stale or contended"


def filled(rows: Iterable[Measurement], kept: Kept) -> Iterator[Measurement]:
    """Yield measurements with counts and ceilings; what was not measured stays as it is."""
    best = Ceilings(kept.events("ceiling"))
    for row in rows:
        yield _filled(row, best) if row.status == "measured" else row


def _filled(row: Measurement, best: Ceilings) -> Measurement:
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
    share = bound[1] / seconds if seconds > 0 else 0.0
    reason = "; ".join(filter(None, (row.reason, STALE if share > 1 else "")))
    return replace(row, ceiling=bound[0], ceiling_share=share, reason=reason)
