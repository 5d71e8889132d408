"""The exit status of `bench`: 0 needs something that was asked for and timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_harness.commands import bench
from attention_harness.model.measurement import Measurement
from tests.report.compare.conftest import measured

KERNEL = """
from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",))


def prepare(case):
    raise NotImplementedError
"""


def eager() -> Measurement:
    """Return the baseline's measurement."""
    return measured(1.0, name="eager", answer="baseline", low=None, high=None, level=None)


def blank(status: str, reason: str = "it says why") -> Measurement:
    """Return that of a kernel that was not timed."""
    row = eager()
    return Measurement("kernel", row.mechanism, row.workload, row.case, 1, status, reason)


@pytest.mark.parametrize(
    ("status", "names", "rows"),
    [
        (0, ["kernel"], [eager(), measured(1.0, name="kernel")]),
        (0, ["eager"], [eager()]),
        (0, ["kernel"], [eager(), measured(1.0, name="kernel"), blank("unsupported")]),
        (1, ["kernel"], [eager(), blank("unavailable")]),
        (1, ["kernel"], [eager(), blank("unsupported")]),
        (1, ["eager"], []),
        (1, ["kernel"], [eager(), measured(1.0, name="kernel"), blank("error")]),
        (1, ["kernel"], [eager(), measured(1.0, name="kernel"), blank("refused")]),
        (0, ["kernel"], [eager(), measured(1.0, name="kernel"), blank("refused", "known_failure, accuracy: upstream")]),
    ],
)
def test_nothing_timed_is_no_success(
    harness: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: int,
    names: list[str],
    rows: list[Measurement],
) -> None:
    """Beside the baseline, or of it where it alone was named; then a line says that there is nothing."""
    monkeypatch.setattr(bench.gating, "check", lambda *_: None)
    monkeypatch.setattr(bench, "_measure", lambda *_: rows)
    (tmp_path / "kernel.py").write_text(f'"""Stand-in."""\n{KERNEL}')
    answer = harness("bench", *names, "--load", tmp_path / "kernel.py", "--quick", "--workload", "bert_base")

    assert status == answer.status
    assert ("nothing that was named was timed" in answer.err) == (
        not any(row.status == "measured" and row.implementation in names for row in rows)
    )
