"""Where the time of a check goes: to implementations, to the reference and its bounds, or to this harness itself."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

IMPLEMENTATION, REFERENCE, HARNESS = "implementation", "reference", "harness"  # the first: with its imports

_spent: defaultdict[str, float] = defaultdict(float)
_inside: list[float] = []

Given = ParamSpec("Given")
Made = TypeVar("Made")


@contextlib.contextmanager
def spent(on: str) -> Iterator[None]:
    """Count what is done here on one account, but for what is counted on another one inside: seconds on the wall."""
    began = time.perf_counter()
    _inside.append(0.0)
    try:
        yield
    finally:
        took = time.perf_counter() - began
        _spent[on] += took - _inside.pop()
        if _inside:
            _inside[-1] += took


def counted(on: str) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Return what makes a function count its time on an account."""

    def decorated(function: Callable[Given, Made]) -> Callable[Given, Made]:
        @functools.wraps(function)
        def call(*arguments: Given.args, **keywords: Given.kwargs) -> Made:
            with spent(on):
                return function(*arguments, **keywords)

        return call

    return decorated


def taken() -> dict[str, float]:
    """Return the seconds of each account since this was asked last."""
    found = dict(_spent)
    _spent.clear()
    return found


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

    def told(self) -> dict[str, Any]:
        """Return wall seconds, checks for each second, and shares of the workers' time."""
        wall = time.perf_counter() - self.began
        own = self.seconds[HARNESS] + time.process_time() - self.began_cpu
        parts = {IMPLEMENTATION: self.seconds[IMPLEMENTATION], REFERENCE: self.seconds[REFERENCE], HARNESS: own}
        shares = {name: round(seconds / (self.jobs * wall), 4) for name, seconds in parts.items()}
        rate = round(self.checks / wall, 1)
        return {"seconds": round(wall, 2), "jobs": self.jobs, "checks_per_second": rate, "shares": shares}


def sentence(told: Mapping[str, Any]) -> str:
    """Return the costs of a run in a line."""
    shares = told["shares"]
    rest = max(0.0, 1 - sum(shares.values()))
    parts = {
        "implementations": shares[IMPLEMENTATION],
        "reference and error bounds": shares[REFERENCE],
        "this harness": shares[HARNESS],
        "starting and waiting": rest,
    }
    listed = ", ".join(f"{name} {share:.0%}" for name, share in parts.items())
    workers = f"{told['jobs']} worker{'s' if told['jobs'] > 1 else ''}"
    return f"time: {told['seconds']:.0f} s on {workers}: {listed}; {told['checks_per_second']:.0f} checks/s"
