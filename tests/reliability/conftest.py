"""Keeps what the reliability tests found, as a run directory that `report` tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attention_harness import store
from attention_harness.execution import machine
from attention_harness.model.run_facts import Harm, RunFacts
from attention_harness.store.layout import RELIABILITY


@pytest.fixture(scope="session")
def reliability(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Return a function that keeps a row of the table; all are written when the tests have ended."""
    rows: list[Harm] = []
    yield lambda **row: rows.append(Harm(**row))
    out = request.config.getoption("--reliability")
    if out and rows:
        facts = RunFacts(
            command="python -m tox -e reliability",
            planned=0,
            environment=machine.environment(),
            started=store.now(),
            finished=store.now(),
            tier="reliability",
        )
        writer = store.Writer.start(Path(out), facts)
        writer.write(RELIABILITY, rows)
