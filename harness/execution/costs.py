"""What a run cost: the time of its workers by account, and what is left for starting and waiting."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from attention_harness.model.run_facts import TimeAccount
from attention_harness.model.time_account import HARNESS, IMPLEMENTATION, REFERENCE


@dataclass
class Costs:
    """What the checks of a run cost: seconds of all workers by account, and of the process that commands them.

    The shares are of the time that all workers had, which is their number times the time on the wall: what is left was
    spent on starting processes, their imports, and waiting. What hung or crashed is the implementation's time.

    jobs: workers that had something to do
    """

    jobs: int
    began: float = field(default_factory=lambda: time.perf_counter())
    began_cpu: float = field(default_factory=lambda: time.process_time())
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    checks: int = 0

    def add(self, spent: Mapping[str, float]) -> None:
        """Add what an item took."""
        for account, seconds in spent.items():
            self.seconds[account] += seconds

    def summary(self) -> TimeAccount:
        """Return wall seconds, checks for each second, and shares of the workers' time."""
        wall = time.perf_counter() - self.began
        own = self.seconds[HARNESS] + time.process_time() - self.began_cpu
        parts = {IMPLEMENTATION: self.seconds[IMPLEMENTATION], REFERENCE: self.seconds[REFERENCE], HARNESS: own}
        shares = {name: round(seconds / (self.jobs * wall), 4) for name, seconds in parts.items()}
        rate = round(self.checks / wall, 1)
        return TimeAccount(seconds=round(wall, 2), workers=self.jobs, checks_per_second=rate, shares=shares)


def sentence(summary: TimeAccount) -> str:
    """Return the costs of a run in a line."""
    shares = summary.shares
    rest = max(0.0, 1 - sum(shares.values()))
    parts = {
        "implementations": shares[IMPLEMENTATION],
        "reference and error bounds": shares[REFERENCE],
        "this harness": shares[HARNESS],
        "starting and waiting": rest,
    }
    listed = ", ".join(f"{name} {share:.0%}" for name, share in parts.items())
    workers = f"{summary.workers} worker{'s' if summary.workers > 1 else ''}"
    return f"time: {summary.seconds:.0f} s on {workers}: {listed}; {summary.checks_per_second:.0f} checks/s"
