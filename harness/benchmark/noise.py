"""How disturbed the machine was: one line, and warnings where `BENCHMARKING` section 3 has thresholds.

`reading` looks at the machine, and `summary` asks for its cores where no record tells; everything else is pure.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from attention_harness.benchmark.statistics import PREEMPTED_MOST
from attention_harness.execution.machine import cores
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import MachineRead, Record
from attention_harness.model.run_facts import Noise

MOSTLY_PREEMPTED = 0.50
SPREAD = 0.015  # between-process standard deviation of a log ratio
DRIFT = 0.10  # of the baseline's time from pass to pass
FAULTS = 10.0  # minor page faults for one call
PRESSURE = 5.0  # percent of the last 10 s in which some process waited for a core


def load() -> float | None:
    """Return the runnable processes of the last minute, None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def reading() -> dict[str, Any]:
    """Return load, pressure and stolen ticks now; None where unknown."""
    return {
        "load": load(),
        "cores": cores(),
        "pressure": _pressure(Path("/proc/pressure/cpu")),
        "steal": _steal(Path("/proc/stat")),
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


def withheld(threads: int, load: float | None, available: int) -> str:
    """Return why calls of several threads cannot be timed on this machine now, or "".

    A thread that waits for a core holds up all others: with two busy cores a product of two threads fell to a hundredth
    of its speed (`BENCHMARKING` section 2.7).
    """
    if threads == 1 or (load is not None and load < available - threads):
        return ""
    now = "unknown" if load is None else f"{load:.1f}"
    return (
        f"withheld: {threads} threads on {available} cores at load {now}; they need a load below {available - threads}"
        + (", that is, more cores than threads" if available <= threads else "")
    )


def summary(rows: Iterable[Measurement], records: Iterable[Record]) -> Noise:
    """Return what the passes' records and the measurements say of the noise."""
    readings = [record for record in records if isinstance(record, MachineRead)]
    measured = [row for row in rows if row.status == "measured"]
    compared = [row for row in measured if row.ratio is not None and row.answer != "baseline"]
    controls = [row.control_ratio for row in measured if row.control_ratio is not None]
    spreads = [statistics.stdev(logs) for row in compared if len(logs := [math.log(r) for r in row.pass_ratios]) > 1]
    medians = [[statistics.median(samples) for samples in row.wall_s] for row in measured if row.answer == "baseline"]
    faults: dict[str, float] = {}
    for row in measured:
        faults[row.implementation] = max(faults.get(row.implementation, 0.0), row.minor_faults_per_call or 0.0)
    preempted = [row.preempted for row in measured if row.preempted is not None]
    found = Noise(
        line="",
        warnings=(),
        load=_median(one.load for one in readings),
        cores=max((one.cores for one in readings), default=cores()),
        threads=tuple(sorted({row.threads for row in measured})),
        pressure_percent=max((one.pressure for one in readings if one.pressure is not None), default=None),
        steal_ticks=_stolen(readings),
        preempted=statistics.fmean(preempted) if preempted else 0.0,
        cpu_clock=sum(row.clock == "cpu" for row in compared) / max(len(compared), 1),
        control_ratio=(statistics.median(controls), min(controls), max(controls)) if controls else None,
        unreliable=len({row.cell for row in compared if row.answer == "unreliable"}),
        cells=len({row.cell for row in measured}),
        spread=_median(spreads),
        drift=_median(max(times) / min(times) - 1 for times in medians),
        minor_faults=max(faults.values(), default=0.0),
        minor_faults_of=max(faults, key=lambda name: faults[name], default=""),
        detectable=_median(row.detectable or None for row in compared),
        allocator_pinned=all(one.allocator_pinned for one in readings if one.when == "start"),
    )
    return replace(found, line=line(found), warnings=tuple(warnings(found)))


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _stolen(readings: Sequence[MachineRead]) -> int | None:
    """Return the ticks that were stolen inside the passes; one that was killed has no end and is left out."""
    begun, stolen = {}, []
    for one in readings:
        key = (one.number, one.threads, one.process)
        if one.steal is not None and one.when == "start":
            begun[key] = one.steal
        elif one.steal is not None and key in begun:
            stolen.append(one.steal - begun[key])
    return sum(stolen) if stolen else None


def line(noise: Noise) -> str:
    """Return the one line that the benchmark ends with; what else is known is said in a warning where it matters."""
    control, load = noise.control_ratio, "unknown" if noise.load is None else f"{noise.load:.1f}"
    by_cpu = f", CPU time decided in {noise.cpu_clock:.0%} of the comparisons" if noise.cpu_clock else ""
    parts = [
        f"load {load} on {noise.cores} cores",
        f"{noise.preempted:.0%} of the samples preempted{by_cpu}",
        f"A/A control {control[0]:.3f} ({control[1]:.3f} to {control[2]:.3f}), which is 1 without noise"
        if control
        else "no A/A control",
        "smallest difference that could show " + ("unknown" if noise.detectable is None else f"{noise.detectable:.1%}"),
    ]
    return "noise: " + "; ".join(parts)


def warnings(noise: Noise) -> list[str]:
    """Return a sentence for every threshold that was crossed."""
    load, count, faults, most = noise.load, noise.cores, noise.minor_faults, max(noise.threads, default=1)
    found = [
        (noise.preempted > MOSTLY_PREEMPTED, f"{noise.preempted:.0%} OF ALL SAMPLES WERE PREEMPTED"),
        (
            MOSTLY_PREEMPTED >= noise.preempted > PREEMPTED_MOST,
            "more than 10 % of the samples were preempted: CPU time decides where one thread does the work",
        ),
        (noise.unreliable > 0, f"{noise.unreliable} of {noise.cells} cells are unreliable and give no answer"),
        ((noise.spread or 0) > SPREAD, "processes differ by more than 1.5 %: more passes would help"),
        ((noise.drift or 0) > DRIFT, "the baseline drifted by more than 10 %: compare ratios, never milliseconds"),
        (
            faults > FAULTS,
            f"{noise.minor_faults_of}: {faults:.0f} minor page faults for one call; its time is partly the kernel's",
        ),
        (load is not None and load > count, f"load {load or 0:.1f} on {count} cores: other work ran beside this"),
        ((noise.pressure_percent or 0) > PRESSURE, "processes waited for a core (PSI above 5 %)"),
        ((noise.steal_ticks or 0) > 0, "the host took time away (steal): CPU time is suspect too"),
        (most >= count and (load or 0) > 0.5, f"{most} threads on {count} cores that others use"),
        (not noise.allocator_pinned, "the allocator could not be pinned: what ran before may change a time"),
    ]
    return [text for crossed, text in found if crossed]
