"""What `run.json` says of a run: its command, what was planned, on which machine, of which files and formulas."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta, field

from attention_harness.model.mechanism_facts import MechanismFacts
from attention_harness.model.stored import Amount, Count, Name, Positive, Seconds, Stored, Text, Whole
from attention_harness.model.verdict import Verdict

FORMAT = 3
"""The version of everything in a run directory.

1  Dataclasses with schemas written by hand; infinite numbers were texts, and reports read formulas from the registry.
2  msgspec structs with a generated schema (`docs/run-directory.schema.json`); what is not finite is null;
   `run.json` describes the mechanisms.
3  Verdicts and sensitivities say whether a pass is uninformative; what other projects' rules say of mutants is kept;
   implementations have the options that they declare; what became of ONNX's own node cases is kept; mechanisms have
   their inputs and worked examples, and heatmaps say what their input is.
"""


class Processor(Stored, frozen=True):
    """Model and architecture, and the vector extensions that decide which kernels run."""

    model: Name
    architecture: Name
    extensions: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()


class CudaDevice(Stored, frozen=True):
    """A CUDA device as its driver describes it."""

    name: Name
    memory_bytes: Count
    capability: Name


class Revision(Stored, frozen=True):
    """A commit, and whether files differ from it."""

    commit: Name
    dirty: bool


class Environment(Stored, frozen=True):
    """A machine and its versions. Everything but `load` is stable, so that two runs on one machine agree in it.

    memory_bytes  physical memory
    threads       torch's threads for one operator, None where torch is not loaded
    git           the checkout of the harness, None outside one
    load          runnable processes over the last 1, 5 and 15 minutes
    """

    python: Name = ""
    platform: Name = ""
    processor: Processor | None = None
    cores: Count | None = None
    memory_bytes: Count | None = None
    packages: Annotated[dict[Name, Name], Meta(max_length=1000)] = field(default_factory=dict)
    threads: Count | None = None
    cuda: Annotated[tuple[CudaDevice, ...], Meta(max_length=1000)] = ()
    git: Revision | None = None
    load: Annotated[tuple[Amount, ...], Meta(max_length=3)] | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What has to agree for results to stand side by side."""
        return self.python, self.platform, self.processor, self.cores, self.packages, self.cuda


class ImplementationFacts(Stored, frozen=True):
    """An implementation of the run.

    sha256   of its file, so that a resumed run is of the same one
    options  that it declares
    """

    summary: Text = ""
    unavailable: Text = ""
    sha256: Name = ""
    options: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()


class Smallest(Stored, frozen=True):
    """The smallest case found on which an implementation still fails a check, and how many failures it stands for."""

    verdict: Verdict
    failures: Positive


class TimeAccount(Stored, frozen=True):
    """What the checks of a run cost. shares: account -> part of the time that all workers had."""

    seconds: Seconds
    workers: Positive
    checks_per_second: Amount
    shares: Annotated[dict[Name, Amount], Meta(max_length=100)]


class Noise(Stored, frozen=True):
    """How disturbed the machine was during a benchmark; None where it is not known.

    line, warnings      the same in words
    load                median of the runnable processes; cores: how many the benchmark might use
    threads             the counts that were timed
    pressure_percent    of the last 10 s in which some process waited for a core, at most
    steal_ticks         taken away by the host; interruptions: of the timing process
    preempted           mean fraction of samples that the scheduler interrupted
    cpu_clock           fraction of the comparisons that rest on CPU time
    control_ratio       median, smallest and largest ratio of the A/A controls
    unreliable, cells   cells without an answer for that reason, of so many
    spread              median standard deviation of a log ratio between processes
    drift               median relative range of the baseline's time from pass to pass
    minor_faults        the most minor page faults for one call, of `minor_faults_of`
    detectable          median of the smallest relative differences that could have shown
    """

    line: Text
    warnings: Annotated[tuple[Text, ...], Meta(max_length=1000)]
    load: Amount | None
    cores: Count
    threads: Annotated[tuple[Positive, ...], Meta(max_length=1000)]
    pressure_percent: Amount | None
    steal_ticks: Whole | None
    preempted: Amount
    cpu_clock: Amount
    control_ratio: Annotated[tuple[Amount, ...], Meta(min_length=3, max_length=3)] | None
    unreliable: Count
    cells: Count
    spread: Amount | None
    drift: Amount | None
    minor_faults: Amount
    minor_faults_of: Name
    detectable: Amount | None
    allocator_pinned: bool


class RunFacts(Stored, frozen=True, kw_only=True):
    """The content of `run.json`. An empty text or None means that the run does not say.

    schema           version of the format
    planned          verdicts that the plan asks for; None where the run does not say
    plan             digest of their names: a run is resumed with the same plan alone
    finished         when it was whole; None while it goes on, and after an interruption
    against          the version that a benchmark compared with
    smallest         of a fuzz: the smallest cases that its failures shrink to; None before they were sought
    self_check       of a self-check: its table, by line
    """

    schema: Count = FORMAT
    command: Text = ""
    started: Name = ""
    finished: Name | None = None
    tier: Name = ""
    planned: Count | None = None
    plan: Name = ""
    environment: Environment = Environment()
    implementations: Annotated[dict[Name, ImplementationFacts], Meta(max_length=1000)] = field(default_factory=dict)
    mechanisms: Annotated[dict[Name, MechanismFacts], Meta(max_length=1000)] = field(default_factory=dict)
    smallest: Annotated[tuple[Smallest, ...], Meta(max_length=1000)] | None = None
    time: TimeAccount | None = None
    noise: Noise | None = None
    against: Name = ""
    self_check: Annotated[tuple[Text, ...], Meta(max_length=10_000)] = ()


class Heatmap(Stored, frozen=True):
    """A panel of `heatmaps.json`: rows down, columns across; None where there is no number.

    case   whose weights these are; "" where the matrix has no such case
    input  whose numbers went in: those of the notes, those recorded of a trained model, or drawn ones
    """

    case: Name
    title: Name
    rows: Name
    columns: Name
    values: Annotated[tuple[Annotated[tuple[float | None, ...], Meta(max_length=64)], ...], Meta(max_length=64)]
    input: Literal["notes", "recorded", "drawn"] = "drawn"

    def __post_init__(self) -> None:
        if len({len(row) for row in self.values}) > 1:
            raise ValueError(f"the rows of {self.title} have different lengths")
        if not all(value is None or math.isfinite(value) for row in self.values for value in row):
            raise ValueError(f"{self.title} holds a number that is not finite; use None")


class Harm(Stored, frozen=True):
    """A row of `reliability.json`: a harm that was planted, and what became of the run beside it.

    complete        the others were answered as in a run without it
    processes_left  that outlived the run
    """

    harm: Name
    planted: Text
    reported: Annotated[tuple[Text, ...], Meta(max_length=1000)]
    complete: bool
    processes_left: Count
