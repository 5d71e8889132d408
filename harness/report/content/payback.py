"""What an implementation costs before its first answers, and after how many calls that has paid. Pure.

Both sides prepare, make a first call, and then calls of equal length. N calls take prepare + first call + (N - 1) times
one call. The baseline takes as long for the N at which the difference of the two beginnings is what N - 1 calls save.
What a call saves comes from the ratio and its interval, on the baseline's time of one call.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from attention_harness.model.measurement import Measurement
from attention_harness.report import words
from attention_harness.report.content.growth import seconds
from attention_harness.report.content.timings import kind

NEVER = math.inf
HEADER = ("implementation", "workload", "prepare", "first call", "more than the baseline", "a call saves", "pays after")
"""What the `cells` of a payback hold."""
TOTALS = ("implementation", "pays on", "after calls: median (range)", "never", "prepare: median (range)")
"""What the `cells` of a total hold."""


@dataclass(frozen=True, slots=True)
class Payback:
    """A row against its baseline. extra_s: its beginning less the baseline's; saved_s: by each later call.

    calls, low, high  after how many calls it has taken no longer than the baseline: 1 is the first; `NEVER` if none.
                      low and high come from the interval of the ratio, None where there is none
    """

    row: Measurement
    prepare_s: float
    extra_s: float
    saved_s: float
    calls: float
    low: float | None
    high: float | None

    @property
    def lead(self) -> float | None:
        """Return the calls for which what is never faster is ahead, because it begins sooner; None otherwise."""
        if self.calls != NEVER or self.extra_s >= 0 or self.saved_s >= 0:
            return None
        return max(1.0, math.floor(1 + self.extra_s / self.saved_s))

    @property
    def says(self) -> str:
        """The number of calls with its interval, in words."""
        if self.lead is not None:
            return f"never; ahead for the first {words.counted(int(self.lead), 'call')}"
        if self.low is None or self.high is None or self.low == self.high:
            return calls(self.calls)
        return f"{calls(self.calls)} [{calls(self.low)}, {calls(self.high)}]"

    @property
    def cells(self) -> tuple[str, ...]:
        """What `HEADER` names."""
        begin = words.seconds(self.prepare_s), words.seconds(self.row.first_call_s)
        more, saved = _signed(self.extra_s), _signed(self.saved_s)
        return self.row.implementation, f"{self.row.workload} ({kind(self.row)})", *begin, more, saved, self.says


@dataclass(frozen=True, slots=True)
class Total:
    """The paybacks of one implementation."""

    implementation: str
    paybacks: tuple[Payback, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """What `TOTALS` names."""
        paid = [one.calls for one in self.paybacks if one.calls != NEVER]
        prepare = [one.prepare_s for one in self.paybacks]
        return (
            self.implementation,
            f"{len(paid)} of {words.counted(len(self.paybacks), 'workload')}",
            _range(paid, calls) if paid else words.NOTHING,
            words.number(len(self.paybacks) - len(paid)),
            _range(prepare, words.seconds),
        )


def paybacks(rows: Sequence[Measurement]) -> tuple[Payback, ...]:
    """Return what each reliable comparison comes to; what has no baseline or no first call is left out."""
    baselines = {row.cell: row for row in rows if row.answer == "baseline"}
    found = (_payback(row, baselines) for row in rows if row.answer not in ("", "baseline", "unreliable"))
    return tuple(one for one in found if one is not None)


def totals(found: Sequence[Payback]) -> tuple[Total, ...]:
    """Return the paybacks by implementation."""
    by_name: dict[str, list[Payback]] = {}
    for one in found:
        by_name.setdefault(one.row.implementation, []).append(one)
    return tuple(Total(name, tuple(several)) for name, several in by_name.items())


def calls(count: float) -> str:
    """Return a number of calls in words; above a thousand with two digits, which is as much as it is known to."""
    if count == NEVER:
        return "never"
    rounded = count if count < 1000 else float(f"{count:.2g}")
    return words.number(int(rounded)) if rounded < 1e7 else f"{rounded:.1e}"


def after(extra_s: float, saved_s: float) -> float:
    """Return the first call after which no more time has gone than the baseline took; `NEVER` if there is none."""
    if saved_s > 0:
        count = 1 + extra_s / saved_s
        return max(1.0, math.ceil(count)) if math.isfinite(count) else NEVER
    return 1.0 if saved_s == 0 and extra_s <= 0 else NEVER


def _payback(row: Measurement, baselines: Mapping[tuple[str, str, str, int], Measurement]) -> Payback | None:
    base = baselines.get(row.cell)
    if base is None or row.ratio is None:
        return None
    begin, other = _begin(row), _begin(base)
    if begin is None or other is None:
        return None
    call, extra = seconds(base), begin - other
    low, high = (None if end is None else after(extra, call * (1 - end)) for end in (row.low, row.high))
    saved = call * (1 - row.ratio)
    ends = (None, None) if low is None or high is None else sorted((low, high))
    return Payback(row, statistics.median(row.prepare_s), extra, saved, after(extra, saved), *ends)


def _begin(row: Measurement) -> float | None:
    """Return the time until the first answer is there."""
    return statistics.median(row.prepare_s) + row.first_call_s if row.prepare_s and row.first_call_s else None


def _signed(seconds_: float) -> str:
    return f"{'−' if seconds_ < 0 else ''}{words.seconds(abs(seconds_))}"


def _range(values: Sequence[float], write: Callable[[float], str]) -> str:
    least, middle, most = min(values), statistics.median(values), max(values)
    return write(middle) if least == most else f"{write(middle)} ({write(least)} to {write(most)})"
