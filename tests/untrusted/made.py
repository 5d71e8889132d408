"""A small run directory with every file that a run can have, written by the harness itself."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from attention_harness.execution.machine import environment
from attention_harness.model.diagnosis import Diagnosis, Match
from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.measurement import Measurement
from attention_harness.model.mechanism_facts import (
    ErratumFacts,
    Given,
    InputFacts,
    Matrix,
    MechanismFacts,
    Numbers,
    Step,
    WorkedExample,
)
from attention_harness.model.mutation_results import ByRule, EquivalenceResult, Outcome, Sensitivity
from attention_harness.model.node_cases import NodeCase
from attention_harness.model.pass_records import (
    Begun,
    Ceiling,
    Ended,
    Failed,
    MachineRead,
    Record,
    Sampled,
)
from attention_harness.model.run_facts import (
    Harm,
    Heatmap,
    ImplementationFacts,
    Noise,
    RunFacts,
    Smallest,
    TimeAccount,
)
from attention_harness.model.target_results import TargetResult
from attention_harness.model.verdict import NOT_CHECKED, Status, Verdict
from attention_harness.store import Writer
from attention_harness.store.encoding import encode
from attention_harness.store.files import append
from attention_harness.store.layout import DIAGNOSIS, ERROR_MAPS, HEATMAPS, NODE_CASES, PASSES, RELIABILITY, TARGETS

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float32-plain-ordinary-contiguous"
VALUES = ((0.25, 0.75), (1.0, None))


def verdicts(text: str = "") -> list[Verdict]:
    """Return one verdict of each status; text: stands in every field that can hold it."""
    found = []
    for status in Status:
        passed, skipped = status in (Status.PASS, Status.UNEXPECTED_PASS), status in NOT_CHECKED
        error_ratio, reason = (
            None if skipped else 0.25 if passed else 3.5,
            text or ("" if passed else "because"),
        )
        where = None if skipped else (0, 1)
        name = (text or "eager", text or "cosine", f"{text or CASE}", f"{text}behaviour.{status}")
        found.append(Verdict(*name, status, error_ratio, error_ratio, where, reason, text or "replay", 0.5, text, text))
    return found


def measurements(text: str = "") -> list[Measurement]:
    """Return one that was compared, its baseline, and one that was not measured."""
    about = (text or "cosine", text or "small", text or CASE, 1)
    name, other = text or "mine", f"{text} eager"
    times = {"wall_s": ((0.1, 0.2), (0.1, 0.1)), "calls_per_sample": 1, "baseline": other, "clock": "wall"}
    compared = {"ratio": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "answer": "faster", "reason": text}
    return [
        Measurement(name, *about, "measured", **times | compared, prepare_s=(0.1,), peak_bytes=2048),
        Measurement(other, *about, "measured", **times, ratio=1.0, answer="baseline"),
        Measurement(f"{name} too", *about, "refused", text or "it does not conform"),
    ]


def passes(text: str = "") -> list[Record]:
    """Return a record of each kind."""
    where = {"number": 0, "threads": 1}
    arm = {"cell": text or CASE, "arm": text or "eager"}
    times = {"prepare_s": 0.1, "first_call_s": 0.2, "wall_s": (0.1, 0.2), "cpu_s": (0.1, 0.1), "cut": (1,)}
    facts = {"calls": 1, "peak_bytes": 2048, "one_thread": True, "waits": False, "faults": 0.0}
    on_device = {"cold_s": (0.3,), "device_mhz": 1980.0, "allocated": True}
    rate = {"kind": text or "copy in L2", "dtype": "bytes", "wall": 1e9, "cpu": None, "caches": {text or "L2": 2**21}}
    looked = {"process": 7, "allocator_pinned": True, "cores": 2, "load": 0.5, "steal": 0}
    return [
        Sampled(**where, **arm, **times, **facts, **on_device),
        Ceiling(**where, when="cell", **rate, cell=arm["cell"], operation=text or "copy_", reason=text),
        MachineRead(**where, when="start", pressure=0.5, **looked),
        Failed(**where, **arm, reason=text or "because"),
        Begun(**where, **arm),
        Ended(**where, cell=arm["cell"]),
    ]


def mechanism(text: str = "") -> MechanismFacts:
    """Return what a run says of a mechanism, with a worked example whose expected numbers differ."""
    numbers = Numbers((2, 2), (Matrix(text, VALUES),))
    step = Step(text or "weights", text or "P", numbers, Numbers((2, 2), (Matrix(text, ((0.5, 0.5), (1.0, None))),)))
    given = (Given(text or "query", text or "Q", numbers),)
    example = WorkedExample(text or "waist", True, text or "note 003", given, (step,), text, 1, text)
    return MechanismFacts(
        text or "A.",
        text or "x",
        text,
        (ErratumFacts(*[text] * 4),),
        text or "scores",
        text or "Shapes: one.",
        (InputFacts(text or "query", text or "Q", text or "B H Lq D", text or "what is looked for"),),
        text or "B H Lq Dv",
        text or "B H Lq Lk",
        text or "There are columns.",
        (example,),
    )


def everything(directory: Path, text: str = "") -> Path:
    """Write the run; text: stands wherever a run can hold a text."""
    own = verdicts(text)
    facts = RunFacts(
        command=text or "python -m attention_harness check",
        started=text or "2026-01-02T03:04:05+00:00",
        finished=text or "2026-01-02T03:05:05+00:00",
        tier=text or "quick",
        planned=len(own),
        plan=text or "a1",
        environment=structs.replace(environment(), packages={text or "numpy": text or "2.0"}, platform=text or "Linux"),
        implementations={text or "eager": ImplementationFacts(text or "Mine.", text, text or "00", (text or "mask",))},
        mechanisms={text or "cosine": mechanism(text)},
        smallest=(Smallest(own[1], 2),),
        self_check=(text or "a line",),
        time=TimeAccount(1.5, 2, 30.5, {text or "harness": 0.25}),
        noise=Noise(
            line=text or "noise: none",
            warnings=(text or "a warning",),
            load=0.5,
            cores=2,
            threads=(1, 2),
            pressure_percent=0.0,
            steal_ticks=0,
            preempted=0.01,
            cpu_clock=0.0,
            control_ratio=(1.0, 0.99, 1.01),
            unreliable=0,
            cells=1,
            spread=0.01,
            drift=0.02,
            minor_faults=0.5,
            minor_faults_of=text or "eager",
            detectable=0.03,
            allocator_pinned=True,
        ),
        against=text,
    )
    writer = Writer.start(directory, facts)
    writer.add(*own, *measurements(text))
    writer.add(Outcome(text or "mutant", text or "score", text, {text or "cosine": own[1]}, (text or "additive",), 3))
    writer.add(
        Outcome(f"{text}missed", text or "score", text, {}, (), 3), EquivalenceResult(0, {text or "a": 1}, (own[1],))
    )
    match = Match(text or "mutant", text or "score", text, 1, 0.5, 2, 3)
    causes = [Diagnosis(text or "eager", (match,)), Diagnosis(text or "mine", (), text or "none explains it")]
    writer.write(DIAGNOSIS, causes)
    where = text or "output", text or "query", 1, text or "column", 2, ((0.5, None), (2.0, 0.0))
    writer.write(ERROR_MAPS, [ErrorMap(text or "eager", text or CASE, *where)])
    seen = Sensitivity(text or CASE, text or "float32", text or "ordinary", 3, 0.1, None, 0.2, None, text or "weak")
    writer.add(seen, ByRule(text or "onnx", text or "mutant", False, text or "output"))
    append(directory / PASSES, b"".join(encode(record) + b"\n" for record in passes(text)))
    writer.write(RELIABILITY, [Harm(text or "aborts", text, (text,), not text, 0)])
    writer.write(
        NODE_CASES, [NodeCase(text or "test_a", text or "Attention", text or "eager", own[1].status, "because")]
    )
    of = text or "long, time over eager's"
    writer.write(TARGETS, [TargetResult(text or "fast", text or "mine", of, text or "at most 1", "met", 0.5, 0.4, 0.6)])
    panel = Heatmap(text or CASE, text or "weights", text or "query", text or "key", VALUES)
    writer.write(HEATMAPS, {text or "cosine": [panel]})
    return directory
