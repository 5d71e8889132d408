"""What is said of the machine's noise, and from which threshold it is warned of."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from attention_harness.benchmark import noise
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import MachineRead
from attention_harness.model.run_facts import Noise

WHERE = ("dot_product", "w", "dot_product-B1-float32", 1, "measured")
QUIET = Noise(
    line="",
    warnings=(),
    load=0.3,
    cores=4,
    threads=(1,),
    pressure_percent=1.0,
    steal_ticks=0,
    preempted=0.02,
    cpu_clock=0.0,
    control_ratio=(1.001, 0.998, 1.002),
    unreliable=0,
    cells=3,
    spread=0.004,
    drift=0.03,
    minor_faults=0.0,
    minor_faults_of="eager",
    detectable=0.021,
    allocator_pinned=True,
)


def row(name: str, answer: str, ratios: tuple[float, ...], times: tuple[float, ...], **facts: Any) -> Measurement:
    """Return a measurement with the given ratio and time in each pass."""
    ratio = 1.0 if answer == "baseline" else ratios[0]
    given = {"low": ratio, "high": ratio, "level": 0.95, "clock": "wall", "control_ratio": 1.01, "preempted": 0.1}
    samples = {"wall_s": tuple((t,) for t in times), "cpu_s": tuple((t,) for t in times), "calls_per_sample": 1}
    about = {"baseline": "eager", "ratio": ratio, "answer": answer, "pass_ratios": ratios}
    return Measurement(name, *WHERE, **given | samples | about | facts)


def test_a_quiet_machine_is_one_line_without_warnings() -> None:
    """Load, preemption, A/A control and the smallest difference; the rest is said where it is too large."""
    assert [] == noise.warnings(QUIET)
    assert noise.line(QUIET) == (
        "noise: load 0.3 on 4 cores; 2% of the samples preempted; A/A control 1.001 (0.998 to 1.002), which is 1 "
        "without noise; smallest difference that could show 2.1%"
    )
    assert "preempted, CPU time decided in 50% of" in noise.line(replace(QUIET, cpu_clock=0.5))


@pytest.mark.parametrize(
    ("crossed", "told"),
    [
        ({"preempted": 0.11}, "CPU time decides"),
        ({"preempted": 0.51}, "51% OF ALL SAMPLES"),
        ({"unreliable": 1}, "1 of 3 cells"),
        ({"spread": 0.016}, "1.5 %"),
        ({"drift": 0.11}, "never milliseconds"),
        ({"minor_faults": 11.0, "minor_faults_of": "kernel"}, "kernel: 11 minor page faults"),
        ({"load": 4.1}, "load 4.1 on 4 cores"),
        ({"pressure_percent": 5.1}, "PSI"),
        ({"steal_ticks": 1}, "steal"),
        ({"threads": (1, 4), "load": 0.6}, "4 threads on 4 cores"),
        ({"allocator_pinned": False}, "allocator"),
    ],
)
def test_each_threshold_has_its_warning(crossed: dict[str, Any], told: str) -> None:
    """And none of the others."""
    [warning] = noise.warnings(replace(QUIET, **crossed))
    assert told in warning


def test_rows_that_nothing_interrupted_count() -> None:
    """Nine of ten samples of the one row, none of the nine others: 9 % of all."""
    rows = [row("kernel", "same", (1.0,), (1.0,), preempted=0.0 if n else 0.9) for n in range(10)]
    assert 0.09 == pytest.approx(noise.summary(rows, []).preempted)


def test_the_summary_is_made_of_rows_and_readings() -> None:
    """Spread of the log ratios, drift of the baseline, growth of the counters inside passes, the worst of the rest."""
    rows = [
        row("eager", "baseline", (1.0, 1.0), (1e-3, 1.2e-3)),
        row("kernel", "faster", (0.5, 0.5), (1e-3, 1e-3), minor_faults_per_call=4.0, detectable=0.02),
    ]
    about: dict[str, Any] = {"threads": 1, "process": 7, "cores": 2, "allocator_pinned": False}
    readings = [
        MachineRead(**about, number=0, when="start", load=1.0, pressure=2.0, steal=5),
        MachineRead(**about, number=0, when="end", load=3.0, steal=9),
        MachineRead(**about, number=1, when="start", load=2.0, pressure=1.0, steal=9),
    ]
    found = noise.summary(rows, readings)

    assert (2.0, 2, 2.0) == (found.load, found.cores, found.pressure_percent)
    assert 4 == found.steal_ticks
    assert (0.0, pytest.approx(0.2)) == (found.spread, found.drift)
    assert ("kernel", 4.0) == (found.minor_faults_of, found.minor_faults)
    assert ((1.01, 1.01, 1.01), 0.02, False) == (found.control_ratio, found.detectable, found.allocator_pinned)
    assert (noise.line(found), tuple(noise.warnings(found))) == (found.line, found.warnings)


def test_nothing_measured_is_no_noise() -> None:
    """Every row was refused: the line still stands."""
    found = noise.summary([], [])

    assert "no A/A control" in noise.line(found)
    assert [] == noise.warnings(found)


@pytest.mark.parametrize(
    ("threads", "load", "cores", "waits"),
    [(1, 9.0, 2, False), (2, 0.0, 2, True), (2, 1.9, 4, False), (2, 2.0, 4, True), (2, None, 64, True)],
)
def test_several_threads_need_free_cores(threads: int, load: float | None, cores: int, waits: bool) -> None:
    """Load below cores less threads, else they are withheld with the reason; one thread never is."""
    assert waits == noise.withheld(threads, load, cores).startswith("withheld: 2 threads on")
