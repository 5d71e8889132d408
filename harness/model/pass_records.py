"""The lines of `passes.jsonl`: what a pass of a benchmark did, as it did it. Measurements are made of these."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from attention_harness.model.stored import Amount, Count, Name, Positive, Seconds, Stored, Text

Samples = Annotated[tuple[Seconds, ...], Meta(max_length=1_000_000)]


class PassRecord(Stored, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """What every record says: of which pass, with how many threads for one call."""

    number: Count = field(name="pass")
    threads: Positive


class MachineRead(PassRecord, frozen=True, kw_only=True, tag="machine"):
    """A look at the machine. A pass may need several processes; each looks when it starts and when it ends."""

    when: Literal["start", "end"]
    process: Count
    allocator_pinned: bool
    cores: Count
    load: Amount | None = None
    pressure: Amount | None = None
    steal: Count | None = None


class Ceiling(PassRecord, frozen=True, kw_only=True, tag="ceiling"):
    """The best rate of an operation.

    when       in the rounds of a cell, or at the start of a pass: a first look. At the end: of older runs
    cell       of which cell
    kind       of work, such as matrix product; dtype: bytes of a copy
    wall, cpu  units a second on that clock; None where it is not known
    caches     bytes of each level
    operation  which one was the fastest of its kind
    reason     why a cell has none; then kind and dtype are empty
    """

    when: Literal["start", "end", "cell"]
    kind: Name
    dtype: Name
    wall: Amount | None
    cpu: Amount | None
    cell: Text = ""
    operation: Name = ""
    reason: Text = ""
    caches: Annotated[dict[Name, Count], Meta(max_length=100)] = field(default_factory=dict)


class Begun(PassRecord, frozen=True, kw_only=True, tag="begin"):
    """An arm of a cell is about to be prepared; or, without an arm, the cell is about to be timed."""

    cell: Text
    arm: Name


class Failed(PassRecord, frozen=True, kw_only=True, tag="error"):
    """An arm, or without one the whole cell, is lost to this pass.

    wrong  whether what it returned while it was timed is not what was checked: no pass of it counts
    """

    cell: Text
    arm: Name
    reason: Text
    wrong: bool = False


class Sampled(PassRecord, frozen=True, kw_only=True, tag="samples"):
    """The samples of an arm.

    calls       between two readings of the clock
    faults      median of the minor page faults of a call
    cut         places of the samples that the scheduler interrupted
    one_thread  one thread did the work, so that its CPU time tells
    waits       a call waits for something else than its own work
    cold_s      on an accelerator: single calls after its cache was flushed
    allocated   on an accelerator: memory was asked for while it was timed
    """

    cell: Text
    arm: Name
    prepare_s: Seconds
    first_call_s: Seconds
    calls: Positive
    peak_bytes: Count | None
    one_thread: bool
    waits: bool = False
    faults: Amount
    wall_s: Samples
    cpu_s: Samples
    cut: Annotated[tuple[Count, ...], Meta(max_length=1_000_000)] = ()
    cold_s: Samples = ()
    device_mhz: Amount | None = None
    allocated: bool = False


class Ended(PassRecord, frozen=True, kw_only=True, tag="end"):
    """A cell is timed. clock_s: since it was begun, by the clock of the process that timed it."""

    cell: Text
    clock_s: Seconds | None = None


Record = MachineRead | Ceiling | Begun | Failed | Sampled | Ended
