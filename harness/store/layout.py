"""The files of a run directory, and the type of what each holds.

run.json             the run itself: command, machine, versions, what was planned
verdicts.jsonl       a verdict a line, appended as each is reached
measurements.jsonl   a measurement a line, made of passes.jsonl at the end of a benchmark
passes.jsonl         every record of every pass, appended as it comes
outcomes.jsonl       a mutant a line, and what accuses it
equivalence.jsonl    a part of the cases a line, and which equivalent variants it accuses
by_rule.jsonl        a mutant or variant a line, and what another project's rule has against it
sensitivity.jsonl    a case a line, and the smallest error that it sees
diagnosis.json       by implementation that failed, the mutants that explain it
reliability.json     by planted harm, what was reported and whether the rest of the run was complete
node_cases.json      ONNX's own node cases, and what became of each in each implementation
targets.json         the targets of a benchmark, and which of them it met
error_maps.json      of failing cases, where the errors lie
heatmaps.json        by mechanism, the attention weights that a report draws
self_check.json      every comparison of a self-check, and the method's error rates that follow; nothing reads it
benchmark.json       pytest-benchmark's own format, after a benchmark; nothing here reads it
.lock                locked by the process that writes (`attention_harness.store.lock`)
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.measurement import Measurement
from attention_harness.model.mutation_results import ByRule, EquivalenceResult, Outcome, Sensitivity
from attention_harness.model.node_cases import NodeCase
from attention_harness.model.pass_records import Record
from attention_harness.model.run_facts import Harm, Heatmap, RunFacts
from attention_harness.model.stored import Name
from attention_harness.model.target_results import TargetResult
from attention_harness.model.verdict import Verdict

RUN = "run.json"
PASSES = "passes.jsonl"
HEATMAPS = "heatmaps.json"
DIAGNOSIS = "diagnosis.json"
ERROR_MAPS = "error_maps.json"
RELIABILITY = "reliability.json"
NODE_CASES = "node_cases.json"
TARGETS = "targets.json"

ITEMS: dict[type[Any], str] = {
    Verdict: "verdicts.jsonl",
    Measurement: "measurements.jsonl",
    Outcome: "outcomes.jsonl",
    EquivalenceResult: "equivalence.jsonl",
    Sensitivity: "sensitivity.jsonl",
    ByRule: "by_rule.jsonl",
}
"""The file of each kind of item that is appended a line at a time."""

LINES: dict[str, Any] = {file: kind for kind, file in ITEMS.items()} | {PASSES: Record}
"""The type of a line, by file."""

DOCUMENTS: dict[str, Any] = {
    RUN: RunFacts,
    HEATMAPS: Annotated[
        dict[Name, Annotated[tuple[Heatmap, ...], Meta(max_length=20)]],
        Meta(max_length=100),
    ],
    DIAGNOSIS: Annotated[tuple[Diagnosis, ...], Meta(max_length=10_000)],
    ERROR_MAPS: Annotated[tuple[ErrorMap, ...], Meta(max_length=1_000)],
    RELIABILITY: Annotated[tuple[Harm, ...], Meta(max_length=10_000)],
    NODE_CASES: Annotated[tuple[NodeCase, ...], Meta(max_length=100_000)],
    TARGETS: Annotated[tuple[TargetResult, ...], Meta(max_length=10_000)],
}
"""The type of a whole file, by file."""
