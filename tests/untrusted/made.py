"""A small run directory with every file that a run can have, written by the harness itself."""

from __future__ import annotations

from pathlib import Path

from attention_harness.execution.fuzz import Smallest
from attention_harness.execution.machine import environment
from attention_harness.model.measurement import Measurement
from attention_harness.model.mutation_results import Outcome, Trial
from attention_harness.model.verdict import NOT_CHECKED, Status, Verdict
from attention_harness.mutation.diagnosis import Diagnosis, Match
from attention_harness.mutation.sensitivity import Sensitivity
from attention_harness.store.results import Writer, write_json

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float32-plain-ordinary-contiguous"
PANEL = {"case": CASE, "title": "weights", "rows": "query", "columns": "key", "values": [[0.25, 0.75], [1.0, 0.0]]}


def verdicts(text: str = "") -> list[Verdict]:
    """Return one verdict of each status; text: stands in every field that can hold it."""
    found = []
    for status in Status:
        passed, skipped = status in (Status.PASS, Status.UNEXPECTED_PASS), status in NOT_CHECKED
        error_ratio, reason = (
            None if skipped else 0.25 if passed else float("inf"),
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


def everything(directory: Path, text: str = "") -> Path:
    """Write the run; text: stands wherever a run can hold a text."""
    own = verdicts(text)
    about = {"summary": text or "Mine.", "unavailable": text, "sha256": text or "00"}
    facts = {
        "command": text or "python -m attention_harness check",
        "started": text or "2026-01-02T03:04:05+00:00",
        "finished": text or "2026-01-02T03:05:05+00:00",
        "tier": text or "quick",
        "planned": len(own),
        "plan": text or "a1",
        "environment": environment() | ({text: {text: [text, {text: text}]}} if text else {}),
        "implementations": {text or "eager": about},
        "smallest": [Smallest(own[1], 2).to_json()],
    }
    writer = Writer.start(directory, facts)
    writer.add(*own, *measurements(text))
    writer.add(Outcome(text or "mutant", text or "score", text, {text or "cosine": own[1]}, (text or "additive",), 3))
    writer.add(Outcome(f"{text}missed", text or "score", text, {}, (), 3), Trial(0, {text or "a": 1}, (own[1],)))
    match = Match(text or "mutant", text or "score", text, 1, 0.5, 2, 3)
    causes = [Diagnosis(text or "eager", (match,)), Diagnosis(text or "mine", (), text or "none explains it")]
    write_json(directory / "diagnosis.json", [cause.to_json() for cause in causes])
    seen = Sensitivity(text or CASE, text or "float32", text or "ordinary", 3, 0.1, None, 0.2, None, text or "weak")
    writer.add(seen)
    row = {"mutant": text or "aborts", "planted": text, "reported": [text], "complete": not text, "left": 0}
    write_json(directory / "reliability.json", [row])
    panel = {name: text or value if isinstance(value, str) else value for name, value in PANEL.items()}
    write_json(directory / "heatmaps.json", {text or "cosine": [panel]})
    return directory
