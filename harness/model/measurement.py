"""The value that a benchmark yields for one implementation in one cell."""

from __future__ import annotations

import math
from typing import Annotated, Literal, get_args

from msgspec import Meta

from attention_harness.model.stored import Amount, Count, Fraction, Name, Positive, Seconds, Stored, Text
from attention_harness.model.verdict import Status

TimedStatus = Literal["measured", "refused", "unsupported", "unavailable", "far behind", "error"]
Answered = Literal["", "baseline", "faster", "slower", "same", "inconclusive", "unreliable"]
Clock = Literal["", "wall", "cpu"]
Direction = Literal["forward", "forward_backward"]

FAR_BEHIND: TimedStatus = "far behind"
STATUSES: tuple[str, ...] = get_args(TimedStatus)
ANSWERS: tuple[str, ...] = get_args(Answered)[1:]
DIRECTIONS: tuple[str, ...] = get_args(Direction)
SWEPT = "sweep_"
"""Begins the name of a workload that is one length of a sweep."""

PassValues = Annotated[tuple[Seconds, ...], Meta(max_length=1_000)]
"""A number for each pass."""
PassSamples = Annotated[
    tuple[Annotated[tuple[Seconds, ...], Meta(max_length=10_000)], ...],
    Meta(max_length=1_000),
]
"""The samples of each pass."""


class Measurement(Stored, frozen=True):
    """What was timed, and how it compares with the baseline of the same cell. Times are in seconds for one call.

    workload, case, direction, threads name its cell. `case` holds mechanism, sizes, dtype and device.

    direction              forward; or forward_backward: the gradients of all floating tensors for a fixed upstream too
    status                 measured; refused (it does not conform: never timed); unsupported; unavailable;
                           far behind (of `choose`: it conforms, and a first look was enough); error
    reason                 why it was not measured, why the answer is withheld, or which passes were lost
    prepare_s              `prepare(case)` in each pass
    first_call_s           the first call of the first pass: what is compiled or loaded late shows here
    calls_per_sample       calls between two readings of the clock
    wall_s, cpu_s          samples by pass, at most 200 a pass, the same rounds for every arm of a cell; cpu_s is
                           empty where thread CPU time says nothing: on an accelerator, or with threads of its own
    minor_faults_per_call  pages the kernel had to map during a call; None where it is not known
    preempted              share of samples, of this and of the baseline, that the scheduler interrupted
    peak_bytes             memory that one call adds at its peak, its output included; None where it is not known
    baseline               the implementation it is compared with; "" where there is none
    ratio, low, high       time over the baseline's, and its interval of confidence `level`
    clock                  which of the two clocks ratio and answer rest on
    answer                 baseline, faster, slower, same, inconclusive or unreliable; "" without a baseline
    detectable             smallest relative difference that these passes could have shown, e.g. 0.02
    control_ratio         the same ratio of the baseline's A/A control, whose truth is 1
    pass_ratios            the ratio that each pass came to; the interval is made of them
    cold_s                 on an accelerator: single calls after its cache was flushed, by pass. wall_s holds hot ones
    device_mhz             on an accelerator: its clock in each pass, where the driver tells
    error_ratio           largest error ratio that it used where it was checked; gated_on: on which case,
                           where that is a shorter one than the one that was timed
    flops, moved_bytes     operations of matrix products, and compulsory traffic, counted from the formula
    least_bytes            memory that no call can avoid to add; written_bytes: of the largest intermediate if written
                           out, such as the scores. To be read beside peak_bytes
    ceiling, ceiling_share which of this machine's ceilings binds, and the part of it that is reached, over the same
                           passes and rounds; above 1 the count of the work or the ceiling is at fault
    """

    implementation: Name
    mechanism: Name
    workload: Name
    case: Name
    threads: Positive
    status: TimedStatus
    reason: Text = ""
    prepare_s: PassValues = ()
    first_call_s: Amount | None = None
    calls_per_sample: Count = 0
    wall_s: PassSamples = ()
    cpu_s: PassSamples = ()
    minor_faults_per_call: Amount | None = None
    preempted: Fraction | None = None
    peak_bytes: Count | None = None
    baseline: Name = ""
    ratio: Amount | None = None
    low: Amount | None = None
    high: Amount | None = None
    level: Fraction | None = None
    clock: Clock = ""
    answer: Answered = ""
    detectable: Amount | None = None
    control_ratio: Amount | None = None
    direction: Direction = "forward"
    pass_ratios: PassValues = ()
    cold_s: PassSamples = ()
    device_mhz: PassValues = ()
    error_ratio: Amount | None = None
    gated_on: Name = ""
    flops: Amount | None = None
    moved_bytes: Amount | None = None
    least_bytes: Amount | None = None
    written_bytes: Amount | None = None
    ceiling: Name = ""
    ceiling_share: Amount | None = None

    @property
    def dtype(self) -> str:
        """The dtype in the case's id; "" where the id is none of ours."""
        return next(iter(self.case.split("-")[2:3]), "")

    @property
    def wrong(self) -> bool:
        """It failed, and its file does not declare the failure with a reason: such a one is refused all the same."""
        return self.status in ("refused", "error") and not self.reason.startswith(f"{Status.KNOWN_FAILURE}, ")

    @property
    def cell(self) -> tuple[str, str, str, int]:
        """What it is compared within: workload, case, direction, threads."""
        return self.workload, self.case, self.direction, self.threads

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What names it in a run: the implementation and its cell."""
        return self.implementation, *self.cell

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = _not_measured(self) if self.status != "measured" else _samples(self) or _comparison(self)
        if wrong:
            raise ValueError(f"measurement of {self.implementation} on {self.case} ({self.status}): {wrong}")


def _not_measured(row: Measurement) -> str:
    if not row.reason:
        return "what was not measured needs a reason"
    blank = {*row.__struct_fields__} - {"implementation", "mechanism", "workload", "case", "direction", "threads"}
    claims = [name for name in sorted(blank - {"status", "reason", "baseline"}) if getattr(row, name)]
    return f"it was not measured, yet it states {', '.join(claims)}" if claims else ""


def _samples(row: Measurement) -> str:
    """Return what is impossible about the samples, or ""."""
    if not row.wall_s or not all(row.wall_s):
        return "it has a pass without samples, or no pass"
    if row.cpu_s and [len(p) for p in row.cpu_s] != [len(p) for p in row.wall_s]:
        return "its CPU times are not of the same rounds as its wall times"
    if not all(math.isfinite(t) and t > 0 for p in row.wall_s for t in p):
        return "a wall time is not a positive number"
    if not all(math.isfinite(t) and t >= 0 for p in row.cpu_s for t in p):
        return "a CPU time is negative or not a number"
    if row.calls_per_sample < 1:
        return f"{row.calls_per_sample} calls for each sample"
    return ""


def _comparison(row: Measurement) -> str:
    """Return what is impossible about ratio, interval and answer, or ""."""
    if (row.ratio is None) != (row.answer == "") or (row.ratio is None) != (row.baseline == ""):
        return "baseline, ratio and answer come together"
    if row.ratio is None:
        return "an interval without a ratio" if row.low is not None or row.high is not None else ""
    if not row.clock or (row.clock == "cpu" and not row.cpu_s):
        return f"answer {row.answer!r} on clock {row.clock!r} is not possible"
    itself = row.implementation == row.baseline
    if (row.answer == "baseline") != itself or (itself and row.ratio != 1):
        return "the baseline, and only the baseline, is compared with itself"
    if (row.low is None) != (row.high is None) or (row.low is None) != (row.level is None):
        return "low, high and level come together"
    if row.low is None or row.high is None:
        claims = row.answer in ("faster", "slower", "same")
        return f"{row.answer} without an interval" if claims else ""
    if not 0 < row.low <= row.ratio <= row.high < math.inf:
        return f"ratio {row.ratio} outside its interval [{row.low}, {row.high}]"
    if (row.answer == "faster" and row.high >= 1) or (row.answer == "slower" and row.low <= 1):
        return f"{row.answer}, although its interval [{row.low}, {row.high}] contains 1 or lies on the other side"
    return "an answer is withheld without a reason" if row.answer == "unreliable" and not row.reason else ""
