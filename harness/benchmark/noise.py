"""How disturbed the machine was: one line, and warnings where `BENCHMARKING` section 3 has thresholds.

`reading` looks at the machine, and `summary` asks for its cores where no record tells; everything else is pure.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from attention_harness.benchmark.statistics import PREEMPTED_MOST, SENTINEL
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Noise

MOSTLY_PREEMPTED = 0.50
SPREAD = 0.015  # between-process standard deviation of a log ratio
DRIFT = 0.10  # of the baseline's time from pass to pass
FAULTS = 10.0  # minor page faults for one call
PRESSURE = 5.0  # percent of the last 10 s in which some process waited for a core

Record = dict[str, Any]


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reading() -> Record:
    """Return load, pressure and stolen ticks now, and how often this process was interrupted; None where unknown."""
    return {
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cores": cores(),
        "pressure": _pressure(Path("/proc/pressure/cpu")),
        "steal": _steal(Path("/proc/stat")),
        "interruptions": _interruptions(),
    }


def _pressure(path: Path) -> float | None:
    try:
        return float(path.read_text().split("avg10=")[1].split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _steal(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n")[0].split()[8])
    except (OSError, ValueError, IndexError):
        return None


def _interruptions() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def withheld(threads: int, load: float | None, available: int) -> str:
    """Return why calls of several threads cannot be timed on this machine now, or "".

    A thread that waits for a core holds up all others: with two busy cores a product of two threads fell to a hundredth
    of its speed (`BENCHMARKING` section 2.7).
    """
    if threads == 1 or (load is not None and load < available - threads):
        return ""
    told = "unknown" if load is None else f"{load:.1f}"
    return (
        f"withheld: {threads} threads on {available} cores at load {told}; they need a load below {available - threads}"
        + (", that is, more cores than threads" if available <= threads else "")
    )


def summary(rows: Iterable[Measurement], records: Sequence[Mapping[str, Any]]) -> Noise:
    """Return what the passes' readings and the measurements say of the noise."""
    measured = [row for row in rows if row.status == "measured"]
    compared = [row for row in measured if row.ratio is not None and row.answer != "baseline"]
    base = [row for row in measured if row.answer == "baseline"]
    controls = [row.sentinel_ratio for row in base if row.sentinel_ratio is not None]
    spreads = [statistics.stdev(logs) for row in compared if len(logs := [math.log(r) for r in row.pass_ratios]) > 1]
    medians = [[statistics.median(samples) for samples in row.wall_s] for row in base]
    faults = {row.implementation: row.minor_faults_per_call or 0.0 for row in measured}
    for row in measured:
        faults[row.implementation] = max(faults[row.implementation], row.minor_faults_per_call or 0.0)
    loads = _known(records, "load")
    shares = [row.preempted for row in measured if row.preempted is not None]
    starts, ends = ([r for r in records if r.get("when") == when] for when in ("start", "end"))
    most_faults = max(faults, key=lambda name: faults[name], default="")
    found = Noise(
        line="",
        warnings=(),
        load=statistics.median(loads) if loads else None,
        cores=max((r["cores"] for r in records if "cores" in r), default=cores()),
        threads=tuple(sorted({row.threads for row in measured})),
        pressure_percent=max(_known(records, "pressure"), default=None),
        steal_ticks=_grown(starts, ends, "steal"),
        interruptions=_grown(starts, ends, "interruptions"),
        preempted=statistics.fmean(shares) if shares else 0.0,
        cpu_clock=sum(row.clock == "cpu" for row in compared) / max(len(compared), 1),
        control_ratio=(statistics.median(controls), min(controls), max(controls)) if controls else None,
        unreliable=len({row.cell for row in compared if row.answer == "unreliable"}),
        cells=len({row.cell for row in measured}),
        spread=statistics.median(spreads) if spreads else None,
        drift=statistics.median(max(m) / min(m) - 1 for m in medians) if medians else None,
        minor_faults=faults.get(most_faults, 0.0),
        minor_faults_of=most_faults,
        detectable=statistics.median(seen) if (seen := [r.detectable for r in compared if r.detectable]) else None,
        allocator_pinned=all(r.get("allocator_pinned", True) for r in starts),
    )
    return replace(found, line=line(found), warnings=tuple(warnings(found)))


def _known(records: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    return [record[name] for record in records if record.get(name) is not None]


def _grown(starts: Sequence[Mapping[str, Any]], ends: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """Return by how much a count grew inside the passes; one that was killed has no end and is left out."""
    begun = {(r["pass"], r["threads"], r.get("process")): r[name] for r in starts if r.get(name) is not None}
    grown = [
        r[name] - begun[key]
        for r in ends
        if r.get(name) is not None and (key := (r["pass"], r["threads"], r.get("process"))) in begun
    ]
    return sum(grown) if grown else None


def line(noise: Noise) -> str:
    """Return the one line that the benchmark ends with."""
    control, arm, faults = noise.control_ratio, noise.minor_faults_of, noise.minor_faults
    parts = [
        f"load {_number(noise.load, '.1f')}/{noise.cores} cores",
        f"pressure {_number(noise.pressure_percent, '.0f')} %",
        f"preempted {noise.preempted:.0%}"
        + (f" -> CPU-time verdicts in {noise.cpu_clock:.0%}" if noise.cpu_clock else ""),
        f"A/A control {control[0]:.3f} ({control[1]:.3f} to {control[2]:.3f})" if control else "no A/A control",
        f"between-process sd {_percent(noise.spread)}",
        f"drift of the baseline {_percent(noise.drift)}",
        f"steal {_number(noise.steal_ticks, 'd')}",
        f"minor faults/call {faults:.0f}" + (f" ({arm})" if faults >= 0.5 else ""),
        f"allocator {'pinned' if noise.allocator_pinned else 'not pinned'}",
        f"smallest detectable {_percent(noise.detectable)}",
    ]
    return "noise: " + " | ".join(parts)


def warnings(noise: Noise) -> list[str]:
    """Return a sentence for every threshold that was crossed."""
    load, count, control = noise.load, noise.cores, noise.control_ratio
    arm, faults = noise.minor_faults_of, noise.minor_faults
    most = max(noise.threads, default=1)
    found = [
        (noise.preempted > MOSTLY_PREEMPTED, f"{noise.preempted:.0%} OF ALL SAMPLES WERE PREEMPTED"),
        (
            MOSTLY_PREEMPTED >= noise.preempted > PREEMPTED_MOST,
            "more than 10 % of the samples were preempted: CPU time decides where one thread does the work",
        ),
        (noise.unreliable > 0, f"{noise.unreliable} of {noise.cells} cells are unreliable and give no answer"),
        (
            control is not None and max(abs(ratio - 1) for ratio in control) > SENTINEL,
            "an A/A control of the baseline came out more than 2 % from 1",
        ),
        ((noise.spread or 0) > SPREAD, "processes differ by more than 1.5 %: more passes would help"),
        ((noise.drift or 0) > DRIFT, "the baseline drifted by more than 10 %: compare ratios, never milliseconds"),
        (faults > FAULTS, f"{arm}: {faults:.0f} minor page faults for one call; its time is partly the kernel's"),
        (load is not None and load > count, f"load {load or 0:.1f} on {count} cores: other work ran beside this"),
        ((noise.pressure_percent or 0) > PRESSURE, "processes waited for a core (PSI above 5 %)"),
        ((noise.steal_ticks or 0) > 0, "the host took time away (steal): CPU time is suspect too"),
        (most >= count and (load or 0) > 0.5, f"{most} threads on {count} cores that others use"),
        (not noise.allocator_pinned, "the allocator could not be pinned: what ran before may change a time"),
    ]
    return [text for crossed, text in found if crossed]


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"
