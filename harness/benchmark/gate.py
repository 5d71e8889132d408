"""What must conform before it is timed: the timed case itself, in every direction in which it is timed.

Checked are form and accuracy, the weights where they are declared, what a call leaves alone, a second call with other
numbers - and the gradient of every tensor where the backward pass is timed too. `check` checks the rest.
The processes that measure do not check again: they load the same files.
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
from attention_harness.registry import Declared

FORWARD = ("accuracy", "weights", "example", "purity", "second_call")
BACKWARD = ("gradient",)
SECONDS = 600.0  # for one implementation on one case


@dataclass
class Gate:
    """Verdicts -> why an implementation may not be timed on a case, and its error ratio there."""

    verdicts: dict[tuple[str, str], list[Verdict]] = field(default_factory=dict)

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Add verdicts."""
        for verdict in verdicts:
            self.verdicts.setdefault((verdict.implementation, verdict.case), []).append(verdict)

    def __call__(self, implementation: Declared, case: Case, direction: str = "forward") -> str:
        """Return "" if it conforms, else the first verdict that says why not; a known failure hides no other one."""
        found = self._of(implementation.name, case, direction)
        needed = {"accuracy", *(BACKWARD if direction != "forward" else ())}
        bad = [v for v in found if v.status is not Status.PASS and (v.check in needed or v.status not in NOT_CHECKED)]
        bad.sort(key=lambda verdict: verdict.status is Status.KNOWN_FAILURE)
        if bad:
            return f"{bad[0].status}, {bad[0].check}: {bad[0].reason}"
        missing = needed - {verdict.check for verdict in found}
        return f"it was not checked: no verdict on {', '.join(sorted(missing))}" if missing else ""

    def error_ratio(self, name: str, case: Case, direction: str = "forward") -> float | None:
        """Return the largest error ratio, over output, weights and gradients; None if there is none."""
        measured = ("accuracy", "weights", *BACKWARD)
        found = (v.error_ratio for v in self._of(name, case, direction) if v.check in measured)
        return max((ratio for ratio in found if ratio is not None), default=None)

    def _of(self, name: str, case: Case, direction: str) -> list[Verdict]:
        names = FORWARD + (BACKWARD if direction != "forward" else ())
        return [v for v in self.verdicts.get((name, case.id), ()) if v.check in names]


def items(implementations: Sequence[Declared], cells: Iterable[tuple[Case, str]]) -> list[Item]:
    """Return what is to be checked for cases in directions: each case once, in both directions with its gradient."""
    directions: dict[Case, set[str]] = {}
    for case, direction in cells:
        directions.setdefault(case, set()).add(direction)
    found = {}
    for item in plan_items(implementations, directions):
        both = "forward_backward" in directions.get(item.case, ()) and item.implementation.capabilities.gradients
        names = FORWARD + (BACKWARD if both else ())
        # The gradient is checked whatever sample `check` takes: what is timed is what has to be right.
        named = (check for check in CHECKS if check.name in names)
        checks = tuple(c for c in named if c.name in BACKWARD or c.applies(item.implementation, item.case))
        found[item.implementation.name, item.case.id] = replace(item, checks=checks)
    return list(found.values())


def check(
    planned: Sequence[Item], gate: Gate, load: Sequence[Path] = (), memory: int = 0
) -> Iterator[tuple[Item, list[Verdict]]]:
    """Check what the gate has no verdicts on yet, and yield each item with its new ones. memory: see `Limits`"""
    finished = {verdict.key for verdicts in gate.verdicts.values() for verdict in verdicts}
    for item, verdicts in PoolRunner(0, load, Limits(SECONDS, memory)).run(planned, finished):
        gate.add(verdicts)
        yield item, verdicts
