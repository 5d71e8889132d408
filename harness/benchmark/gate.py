"""What must conform before it is timed: the timed case itself, in every direction in which it is timed.

Asked are form and accuracy, the weights where they are declared, what a call leaves alone, a second call with other
numbers - and the gradient of every tensor where the backward pass is timed too. `check` asks the rest.
The processes that measure do not ask again: they load the same files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from attention_harness.checks import CHECKS
from attention_harness.execution.limits import Limits
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.case import Case
from attention_harness.model.verdict import NOT_CHECKED, Status, Verdict
from attention_harness.registry import Implementation

FORWARD = ("accuracy", "weights", "example", "purity", "second_call")
BACKWARD = ("gradient",)
SECONDS = 600.0  # for one implementation on one case


@dataclass
class Gate:
    """Verdicts -> why an implementation may not be timed on a case, and how much of its error bound it used there."""

    verdicts: dict[tuple[str, str], list[Verdict]] = field(default_factory=dict)

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Take what was answered."""
        for verdict in verdicts:
            self.verdicts.setdefault((verdict.implementation, verdict.case), []).append(verdict)

    def __call__(self, implementation: Implementation, case: Case, direction: str = "forward") -> str:
        """Return "" if it conforms, else the first verdict that says why not; a known failure hides no other one."""
        answers = self._of(implementation.name, case, direction)
        asked = {verdict.check for verdict in answers}
        needed = {"accuracy", *(BACKWARD if direction != "forward" else ())}
        missing = needed - asked
        bad = [v for v in answers if v.status is not Status.PASS and (v.check in needed or v.status not in NOT_CHECKED)]
        bad.sort(key=lambda verdict: verdict.status is Status.KNOWN_FAILURE)
        if bad:
            return f"{bad[0].status}, {bad[0].check}: {bad[0].reason}"
        return f"it was not checked: {', '.join(sorted(missing))} was not asked" if missing else ""

    def error_ratio(self, name: str, case: Case, direction: str = "forward") -> float | None:
        """Return the largest error ratio, over output, weights and gradients; None if nothing was run."""
        measured = ("accuracy", "weights", *BACKWARD)
        shares = [
            v.error_ratio for v in self._of(name, case, direction) if v.check in measured and v.error_ratio is not None
        ]
        return max(shares, default=None)

    def seconds(self, name: str, case: Case) -> float:
        """Return how long it took to ask; also where an earlier run did."""
        return sum(verdict.seconds for verdict in self.verdicts.get((name, case.id), ()))

    def _of(self, name: str, case: Case, direction: str) -> list[Verdict]:
        names = FORWARD + (BACKWARD if direction != "forward" else ())
        return [v for v in self.verdicts.get((name, case.id), ()) if v.check in names]


def items(implementations: Sequence[Implementation], asked: Iterable[tuple[Case, str]]) -> list[Item]:
    """Return what is to be asked, each once: a case that is timed in both directions is asked for its gradient too."""
    directions: dict[Case, set[str]] = {}
    for case, direction in asked:
        directions.setdefault(case, set()).add(direction)
    found = {}
    for item in plan_items(implementations, directions):
        both = "forward_backward" in directions.get(item.case, ()) and item.implementation.capabilities.gradients
        names = FORWARD + (BACKWARD if both else ())
        # The gradient is asked whatever sample `check` takes: what is timed is what has to be right.
        asks = (c for c in CHECKS if c.name in names)
        checks = tuple(c for c in asks if c.name in BACKWARD or c.applies(item.implementation, item.case))
        found[item.implementation.name, item.case.id] = replace(item, checks=checks)
    return list(found.values())


def run(
    asked: Sequence[Item], gate: Gate, load: Sequence[Path] = (), jobs: int = 0, memory: int = 0
) -> Iterator[tuple[Item, list[Verdict]]]:
    """Ask what the gate has no answer to yet, and yield each item with its new verdicts."""
    left = [item for item in asked if not _answered(item, gate)]
    for item, verdicts in PoolRunner(jobs, load, Limits(SECONDS, memory)).run(left):
        gate.add(verdicts)
        yield item, verdicts


def _answered(item: Item, gate: Gate) -> bool:
    known = {v.check for v in gate.verdicts.get((item.implementation.name, item.case.id), ())}
    return {check.name for check in item.checks} <= known


def conforms(implementation: Implementation, case: Case, direction: str = "forward") -> str:
    """Ask in this process. Return "" if it conforms, else why not."""
    from attention_harness.execution.run import run_checks

    gate = Gate()
    for item in items([implementation], [(case, direction)]):
        gate.add(run_checks(item))
    return gate(implementation, case, direction)


def refused(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts that keep an implementation from being timed, but for what was not asked of it."""
    return [v for v in verdicts if v.status not in (Status.PASS, *NOT_CHECKED)]
