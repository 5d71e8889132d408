"""Which workloads a size of the matrix holds, and finding them by name."""

from __future__ import annotations

from collections.abc import Iterable

from attention_harness.benchmark.models import SWEEP, WORKLOADS, Workload

__all__ = ["SWEEP", "WORKLOADS", "Workload", "default", "full", "quick", "select"]


def quick() -> tuple[Workload, ...]:
    """Return the short matrix: at least one workload for every mechanism."""
    return tuple(workload for workload in WORKLOADS if workload.quick)


def default() -> tuple[Workload, ...]:
    """Return the matrix but for the long ones."""
    return tuple(workload for workload in WORKLOADS if not workload.full)


def full() -> tuple[Workload, ...]:
    """Return all workloads, models' own lengths and the whole sweep among them."""
    return WORKLOADS


def select(names: Iterable[str]) -> tuple[Workload, ...]:
    """Return the named workloads, in the order of the names."""
    known = {workload.name: workload for workload in WORKLOADS}
    chosen = []
    for name in names:
        if name not in known:
            from attention_harness.registry import unknown

            raise unknown("workload", name, known)
        chosen.append(known[name])
    return tuple(chosen)
