"""Keeps what the reliability tests found, as a run directory that `report` tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attention_harness.execution import machine
from attention_harness.store import results


@pytest.fixture(scope="session")
def reliability(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Return a function that keeps a row of the table; all are written when the tests have ended."""
    rows: list[dict[str, Any]] = []
    yield lambda **row: rows.append(row)
    out = request.config.getoption("--reliability")
    if out and rows:
        facts = {"command": "python -m tox -e reliability", "planned": 0, "environment": machine.environment()}
        facts |= {"started": results.now(), "finished": results.now(), "tier": "reliability", "implementations": {}}
        writer = results.Writer.start(Path(out), facts)
        results.write_json(writer.directory / "reliability.json", rows)
