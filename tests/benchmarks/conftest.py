"""Gives the matrix its measurements: read from a run directory, or made once in a session.

This process never times anything itself, so plugins, coverage and assertion rewriting cannot distort a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attention_harness import registry, store
from attention_harness.benchmark import recorder, workloads
from attention_harness.benchmark.campaign import QUICK_PASSES, Campaign, measure
from attention_harness.execution import machine
from attention_harness.model.measurement import Measurement
from tests.benchmark.made import conforms

LATEST = Path(__file__).parents[2] / "reports" / "latest"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--measurements",
        metavar="DIR",
        type=Path,
        help="run directory whose measurements are recorded (default: the one in reports/latest, or where there is "
        "none a quick campaign, measured now)",
    )


def recorded(config: pytest.Config) -> tuple[Measurement, ...]:
    """Return the measurements of the run directory; none where a campaign has to be made."""
    asked: Path | None = config.getoption("measurements", default=None)
    latest = [path.parent for path in sorted(LATEST.glob("*/measurements.jsonl"))]
    directory = asked or next(iter(latest), None)
    return store.load(directory).measurements if directory else ()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for every implementation in every cell: of the recorded run, or of the quick matrix."""
    if {"cell", "implementation"} <= set(metafunc.fixturenames):
        rows = [(recorder.group(row), row.implementation) for row in recorded(metafunc.config)]
        names = registry.implementations()
        rows = rows or [
            (f"{one.name}-float32-forward-1", name) for one in workloads.of_matrix("quick") for name in names
        ]
        pairs = list(dict.fromkeys(rows))
        metafunc.parametrize(("cell", "implementation"), pairs, ids=[f"{cell}-{name}" for cell, name in pairs])


@pytest.fixture(scope="session")
def measurement_of(request: pytest.FixtureRequest) -> Callable[[str, str], Measurement]:
    """Return the measurement of an implementation in a cell."""

    @functools.cache
    def found() -> dict[tuple[str, str], Measurement]:  # on demand: where benchmarks are off, nothing is measured
        rows: tuple[Measurement, ...] = recorded(request.config) or tuple(_measured(request.config))
        request.config.stash[_ROWS] = rows
        return {(recorder.group(row), row.implementation): row for row in rows}

    return lambda cell, implementation: found()[cell, implementation]


_ROWS = pytest.StashKey[Any]()


def _measured(config: pytest.Config) -> Iterator[Measurement]:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def progress(what: str, done: int, total: int) -> None:
        if terminal is not None and capture is not None and done in (0, total):
            with capture.global_and_fixture_disabled():
                terminal.write_line(f"benchmark campaign: {what} {done}/{total}")

    campaign = Campaign(  # as `bench --quick`
        implementations=tuple(registry.implementations().values()),
        workloads=workloads.of_matrix("quick"),
        passes=QUICK_PASSES,
        dtypes=("float32",),
    )
    return measure(campaign, functools.cache(conforms), progress)


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[object], output_json: dict[str, object]
) -> None:
    output_json["attention_harness"] = recorder.summary(config.stash.get(_ROWS, ()))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, object]) -> None:
    machine_info.clear()
    machine_info.update(recorder.machine_info(machine.environment()))
