"""What the suite catches: it is run against every planted fault, until a check accuses it or no check is left."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pebble import ProcessPool

from harness import conformance, execution
from harness.cases import matrix
from harness.faults import FAULTS, Fault, planted
from harness.values import NONCONFORMING, HarnessError, Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fault, the first verdict that accuses it (its witness; None when it is missed), the checks asked till then."""

    fault: str
    kind: str
    witness: Verdict | None
    checks: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        witness = self.witness.to_json() if self.witness else None
        return {
            "fault": self.fault,
            "kind": self.kind,
            "caught": bool(witness),
            "checks": self.checks,
            "witness": witness,
        }


def measure(names: Sequence[str], tier: str, jobs: int = 0) -> Iterator[Outcome]:
    """Yield the outcome of each fault, in order; all of them when none is named."""
    wanted = [select(name) for name in names] or list(FAULTS)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    with ProcessPool(jobs or execution.default_jobs(), context=context) as pool:
        futures = [pool.schedule(_outcome, args=(fault.name, tier)) for fault in wanted]
        try:
            yield from (future.result() for future in futures)
        finally:
            pool.stop()


def select(name: str) -> Fault:
    """Return a fault by name."""
    found = next((fault for fault in FAULTS if fault.name == name), None)
    if found is None:
        raise HarnessError(f"no fault {name!r}; `python -m harness list faults` names all {len(FAULTS)}")
    return found


def _outcome(name: str, tier: str) -> Outcome:
    fault, checks = select(name), 0
    with _state_restored():
        for item in conformance.plan([planted(fault)], matrix(tier)):
            for verdict in conformance.run(item):
                checks += 1
                if verdict.status in NONCONFORMING:
                    return Outcome(fault.name, fault.kind, verdict, checks)
    return Outcome(fault.name, fault.kind, None, checks)


@contextlib.contextmanager
def _state_restored() -> Iterator[None]:
    """Undo what a fault of manners does to the process, so that the next fault is accused of its own deeds alone."""
    import torch

    torch.set_num_threads(1)
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(1)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return caught and missed by kind of fault and by the mechanism that witnesses, and every missed fault by name."""
    planted_kinds = Counter(outcome.kind for outcome in outcomes)
    missed = Counter(outcome.kind for outcome in outcomes if outcome.witness is None)
    lines = [f"{kind:14} {n - missed[kind]:4} of {n:4} caught" for kind, n in planted_kinds.items()]
    witnesses = Counter(outcome.witness.mechanism for outcome in outcomes if outcome.witness)
    lines.append("first witness: " + ", ".join(f"{mechanism} {n}" for mechanism, n in witnesses.most_common()))
    lines += [f"MISSED {outcome.fault} ({outcome.kind})" for outcome in outcomes if outcome.witness is None]
    caught = len(outcomes) - sum(missed.values())
    lines.append(f"caught {caught} of {len(outcomes)} planted faults in {sum(o.checks for o in outcomes)} checks")
    return "\n".join(lines)
