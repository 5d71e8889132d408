"""How near a call comes to what this machine can do: the counts of its formula, and the ceiling that binds. Pure.

The share of a pass is the time that the ceiling of the cell lets no call come below, over the median of the arm's
samples: both of the same rounds of the same process. The share of a measurement is the median over its passes.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from attention_harness.benchmark.costs import BYTES, COPY, SOFTMAX, TANH, Cost, amount, cost, kinds
from attention_harness.cases.ids import parse
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Begun, Ceiling, Failed, Record, Sampled

ABOVE = "above its ceiling: the count of its work or the ceiling is at fault, which is a fault of the harness's model"
TOO_FAST = "faster than this machine's ceiling allows, by more than the ceiling is uncertain: no such time is believed"
UNCERTAIN = 1.5
"""A ceiling is the best that torch's own operations reached meanwhile. Others may be better by so much at least."""
AHEAD = "faster than torch's own {kind} of as many numbers"
OF_ELEMENTS, OTHER_ARITHMETIC = (TANH, SOFTMAX), 8.0
"""A product of matrices and a reading of memory are what the machine does. A tanh or a softmax is made of others: of
divisions, or of the multiplications that approximate them, of which processors do eight times as many a second."""


class Ceilings:
    """The best rates that were read at the start and the end of a run: of a run whose cells have no ceilings.

    rates, lowest: (kind, dtype, threads, clock) -> units a second
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.rates: dict[tuple[str, str, int, str], float] = {}
        self.lowest: dict[tuple[str, str, int, str], float] = {}
        self.caches: dict[str, int] = {}
        for record in records:
            if not isinstance(record, Ceiling) or record.when == "cell":
                continue
            self.caches |= record.caches
            for clock, rate in (("wall", record.wall), ("cpu", record.cpu)):
                key = (record.kind, record.dtype, record.threads, clock)
                if rate is not None:
                    self.rates[key] = max(self.rates.get(key, 0.0), rate)
                    self.lowest[key] = min(self.lowest.get(key, rate), rate)

    def uncertainty(self, kind: str, dtype: str, threads: int, clock: str) -> float:
        """Return by which factor a ceiling may be too low: as its readings differ, and `UNCERTAIN` at least."""
        key = (kind, BYTES if kind.startswith(COPY) else dtype, threads, clock)
        return max(UNCERTAIN, self.rates[key] / self.lowest[key])

    def binding(self, cost: Cost, dtype: str, threads: int, clock: str) -> tuple[str, float] | None:
        """Return the ceiling that binds, and the seconds below which it lets no call come; None if not measured."""
        rates = {
            kind: self.rates.get((kind, BYTES if kind.startswith(COPY) else dtype, threads, clock))
            for kind in kinds(cost, self.caches)
        }
        known = {kind: rate for kind, rate in rates.items() if rate is not None}
        return None if len(known) < len(rates) else _binding(cost, known)


class CellCeilings:
    """The ceilings that were an arm of each cell, by pass, and the passes that each arm has samples of."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.rates: dict[tuple[str, int], dict[int, dict[str, Ceiling]]] = {}
        self.reasons: dict[tuple[str, int], str] = {}
        self._arms: dict[tuple[str, int, str], dict[int, bool]] = {}
        for record in records:
            if isinstance(record, Begun) and not record.arm:  # what an earlier process left of the cell does not count
                self.rates.get((record.cell, record.threads), {}).pop(record.number, None)
            elif isinstance(record, Ceiling) and record.when == "cell":
                self._add(record)
            elif isinstance(record, Sampled | Failed):
                arm = self._arms.setdefault((record.cell, record.threads, record.arm), {})
                arm[record.number] = isinstance(record, Sampled)

    def _add(self, record: Ceiling) -> None:
        key = record.cell, record.threads
        if record.reason:
            self.reasons[key] = record.reason
        else:
            self.rates.setdefault(key, {}).setdefault(record.number, {})[record.kind] = record

    def __bool__(self) -> bool:
        """Whether the run has any: older ones have not."""
        return bool(self.rates or self.reasons)

    def of(self, row: Measurement) -> tuple[list[tuple[str, float]], str]:
        """Return, of each pass of a row that has a ceiling, the one that binds and the share; or why there is none."""
        name = row.case if row.direction == "forward" else f"{row.case} {row.direction}"
        key, clock, counted = (name, row.threads), row.clock or "wall", cost(parse(row.case), row.direction)
        whole, arm = (self._arms.get((*key, one), {}) for one in ("", row.implementation))
        numbers = [number for number, sampled in sorted((whole | arm).items()) if sampled]
        found = []
        for number, samples in zip(numbers, _passes(row), strict=False):
            rates = {
                kind: rate
                for kind, record in self.rates.get(key, {}).get(number, {}).items()
                if (rate := record.cpu if clock == "cpu" else record.wall) is not None
            }
            if bound := _binding(counted, rates):
                found.append((bound[0], bound[1] / max(statistics.median(samples), 1e-12)))
        return found, "" if found else self.reasons.get(key, "")


def _passes(row: Measurement) -> Sequence[tuple[float, ...]]:
    """Return the samples of each pass, in seconds, on the clock that the row's answer rests on."""
    return row.cpu_s if row.clock == "cpu" else row.wall_s


def _binding(counted: Cost, rates: dict[str, float]) -> tuple[str, float] | None:
    """Return the kind whose work takes longest at its rate, and the seconds; None where none has work."""
    times = {kind: amount(counted, kind) / rate for kind, rate in rates.items() if rate > 0}
    kind = max(times, key=lambda name: times[name], default="")
    return (kind, times[kind]) if kind and times[kind] > 0 else None


def with_ceilings(rows: Iterable[Measurement], records: Iterable[Record]) -> Iterator[Measurement]:
    """Yield measurements with counts and ceilings; what was not measured stays as it is."""
    records = list(records)
    cells, best = CellCeilings(records), Ceilings(records)
    for row in rows:
        if row.status != "measured":
            yield row
            continue
        row = _counted(row)
        yield row if parse(row.case).device != "cpu" else _of_its_cell(row, cells) if cells else _of_its_run(row, best)


def _counted(row: Measurement) -> Measurement:
    """Return a measurement with the counts of its formula."""
    counted = cost(parse(row.case), row.direction)
    return replace(
        row,
        flops=float(counted.flops),
        moved_bytes=float(counted.moved),
        least_bytes=float(counted.least_memory),
        written_bytes=float(counted.written_out),
    )


def _of_its_cell(row: Measurement, cells: CellCeilings) -> Measurement:
    """Add the share of the ceiling that was measured in the same rounds."""
    found, reason = cells.of(row)
    if not found:
        return replace(row, reason=_and(row.reason, f"no ceiling: {reason}" if reason else ""))
    shares = [share for _, share in found]
    kind = Counter(kind for kind, _ in found).most_common(1)[0][0]
    uncertain = max(UNCERTAIN, max(shares) / min(shares))
    return _with_share(row, kind, statistics.median(shares), uncertain)


def _of_its_run(row: Measurement, best: Ceilings) -> Measurement:
    """Add the share of a ceiling that was measured before or after."""
    case, clock = parse(row.case), row.clock or "wall"
    bound = best.binding(cost(case, row.direction), case.dtype, row.threads, clock)
    if bound is None or not _passes(row):
        return row
    seconds = statistics.median(statistics.median(samples) for samples in _passes(row))
    reached = bound[1] / seconds if seconds > 0 else 0.0
    return _with_share(row, bound[0], reached, best.uncertainty(bound[0], case.dtype, row.threads, clock))


def _with_share(row: Measurement, kind: str, reached: float, uncertain: float) -> Measurement:
    """Add the share of a ceiling. One above 1 is explained; of one that no uncertainty explains the answer is withheld.

    uncertain: by which factor the ceiling may be too low
    """
    why = ABOVE if reached > 1 else ""
    if kind in OF_ELEMENTS:
        why = AHEAD.format(kind=kind) if reached > 1 else ""
        uncertain = max(uncertain, OTHER_ARITHMETIC)
    if reached > uncertain and row.answer not in ("", "baseline"):
        row, why = replace(row, answer="unreliable", reason=_and(row.reason, TOO_FAST)), ""
    return replace(row, ceiling=kind, ceiling_share=reached, reason=_and(row.reason, why))


def _and(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))
