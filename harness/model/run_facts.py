"""What `run.json` says of a run: its command, what was planned, on which machine, of which files and formulas."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from attention_harness.model.fields import Amount, Count, Name, Positive, Seconds, Text
from attention_harness.model.verdict import Verdict

FORMAT = 2
"""The version of everything in a run directory.

1  Dataclasses with schemas written by hand; infinite numbers were texts, and reports read formulas from the registry.
2  msgspec structs with a generated schema (`docs/run-directory.schema.json`); what is not finite is null;
   `run.json` describes the mechanisms.
"""


class Processor(Struct, frozen=True, forbid_unknown_fields=True):
    """Model and architecture, and the vector extensions that decide which kernels run."""

    model: Name
    architecture: Name
    extensions: tuple[Name, ...] = ()


class CudaDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """A CUDA device as its driver describes it."""

    name: Name
    memory_bytes: Count
    capability: Name


class Revision(Struct, frozen=True, forbid_unknown_fields=True):
    """A commit, and whether files differ from it."""

    commit: Name
    dirty: bool


class Environment(Struct, frozen=True, forbid_unknown_fields=True):
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
    packages: Annotated[dict[Name, Name], Meta(max_length=1000)] = {}
    threads: Count | None = None
    cuda: Annotated[tuple[CudaDevice, ...], Meta(max_length=1000)] = ()
    git: Revision | None = None
    load: Annotated[tuple[Amount, ...], Meta(max_length=3)] | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What has to agree for results to stand side by side."""
        return self.python, self.platform, self.processor, self.cores, self.packages, self.cuda


class ImplementationFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """An implementation of the run. sha256: of its file, so that a resumed run is of the same one."""

    summary: Text = ""
    unavailable: Text = ""
    sha256: Name = ""


class ErratumFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """A disagreement within the notes: what they say, what is right, and the test that shows it."""

    source: Text
    says: Text
    right: Text
    shown_by: Text


class MechanismFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """A formula that the run concerns, as its reference describes it. formula: LaTeX without the dollars."""

    summary: Text = ""
    formula: Text = ""
    source: Text = ""
    errata: Annotated[tuple[ErratumFacts, ...], Meta(max_length=1000)] = ()


class Smallest(Struct, frozen=True, forbid_unknown_fields=True):
    """The smallest case found on which an implementation still fails a check, and how many failures it stands for."""

    verdict: Verdict
    failures: Positive


class TimeAccount(Struct, frozen=True, forbid_unknown_fields=True):
    """What the checks of a run cost. shares: account -> part of the time that all workers had."""

    seconds: Seconds
    workers: Positive
    checks_per_second: Amount
    shares: Annotated[dict[Name, Amount], Meta(max_length=100)]


class BenchmarkPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """What has to agree for a benchmark to be resumed. time_per_arm_s: of each arm, cell and pass, at least."""

    entrants: tuple[Name, ...]
    cells: tuple[Text, ...]
    passes: Positive
    extend: bool
    baseline: Name
    seed: int
    time_per_arm_s: Seconds


class Noise(Struct, frozen=True, forbid_unknown_fields=True):
    """How disturbed the machine was during a benchmark; None where it is not known.

    line, warnings      the same in words
    load                median of the runnable processes; cores: how many the benchmark might use
    threads             the counts that were timed
    pressure_percent    of the last 10 s in which some process waited for a core, at most
    steal_ticks         taken away by the host; interruptions: of the timing process
    preempted           mean fraction of samples that the scheduler interrupted
    cpu_clock           fraction of the comparisons that rest on CPU time
    aa_ratio            median, smallest and largest ratio of the A/A controls
    unreliable, cells   cells without an answer for that reason, of so many
    spread              median standard deviation of a log ratio between processes
    drift               median relative range of the baseline's time from pass to pass
    minor_faults        the most minor page faults for one call, and by whom
    detectable          median of the smallest relative differences that could have shown
    """

    line: Text
    warnings: tuple[Text, ...]
    load: Amount | None
    cores: Count
    threads: tuple[Positive, ...]
    pressure_percent: Amount | None
    steal_ticks: int | None
    interruptions: int | None
    preempted: Amount
    cpu_clock: Amount
    aa_ratio: tuple[Amount, Amount, Amount] | None
    unreliable: Count
    cells: Count
    spread: Amount | None
    drift: Amount | None
    minor_faults: tuple[Name, Amount]
    detectable: Amount | None
    allocator_pinned: bool


class RunFacts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of `run.json`. An empty text or None means that the run does not say.

    schema           version of the format
    planned          verdicts that the plan asks for; None where the run does not say
    plan             digest of their names: a run is resumed with the same plan alone
    finished         when it was whole; None while it goes on, and after an interruption
    against          the version that a benchmark compared with
    smallest         of a fuzz: the smallest cases that its failures shrink to; None before they were sought
    self_check       of a self-check: its table, by line
    """

    schema: int = FORMAT
    command: Text = ""
    started: Name = ""
    finished: Name | None = None
    tier: Name = ""
    planned: Count | None = None
    plan: Name = ""
    environment: Environment = Environment()
    implementations: Annotated[dict[Name, ImplementationFacts], Meta(max_length=1000)] = {}
    mechanisms: Annotated[dict[Name, MechanismFacts], Meta(max_length=1000)] = {}
    smallest: Annotated[tuple[Smallest, ...], Meta(max_length=1000)] | None = None
    time: TimeAccount | None = None
    bench: BenchmarkPlan | None = None
    noise: Noise | None = None
    against: Name = ""
    self_check: Annotated[tuple[Text, ...], Meta(max_length=10_000)] = ()


class Heatmap(Struct, frozen=True, forbid_unknown_fields=True):
    """A panel of `heatmaps.json`: rows down, columns across; None where there is no number."""

    case: Name
    title: Name
    rows: Name
    columns: Name
    values: Annotated[tuple[Annotated[tuple[float | None, ...], Meta(max_length=64)], ...], Meta(max_length=64)]


class Harm(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of `reliability.json`: a harm that was planted, and what became of the run beside it.

    complete        the others were answered as in a run without it
    processes_left  that outlived the run
    """

    harm: Name
    planted: Text
    reported: Annotated[tuple[Text, ...], Meta(max_length=1000)]
    complete: bool
    processes_left: Count
