"""Runs the items of a plan, each in a worker process with limits, and counts what that costs."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attention_harness.execution import pool, worker
from attention_harness.execution.giving_up import GivingUp
from attention_harness.execution.limits import DEFAULT_LIMITS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item
from attention_harness.execution.pool import Task
from attention_harness.execution.run import run_checks, verdict
from attention_harness.model import time_account
from attention_harness.model.errors import describe
from attention_harness.model.run_facts import TimeAccount
from attention_harness.model.time_account import DIAGNOSIS, HARNESS, IMPLEMENTATION, REFERENCE
from attention_harness.model.verdict import Status, Verdict


@dataclass
class Costs:
    """What the checks of a run cost: seconds of all workers by account, and of the process that commands them.

    The shares are of the time that all workers had, which is their number times the time on the wall: what is left was
    spent on starting processes, their imports, and waiting. What hung or crashed is the implementation's time.

    jobs: workers that had something to do
    checked: when the last check ended; what follows is the diagnosis
    """

    jobs: int
    began: float = field(default_factory=lambda: time.perf_counter())
    began_cpu: float = field(default_factory=lambda: time.process_time())
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    checks: int = 0
    checked: float | None = None

    def add(self, spent: Mapping[str, float]) -> None:
        """Add what an item took."""
        for account, seconds in spent.items():
            self.seconds[account] += seconds

    def summary(self) -> TimeAccount:
        """Return wall seconds, checks for each second, and shares of the workers' time."""
        ended = time.perf_counter()
        wall, checking = ended - self.began, (self.checked or ended) - self.began
        own = self.seconds[HARNESS] + time.process_time() - self.began_cpu
        parts = {IMPLEMENTATION: self.seconds[IMPLEMENTATION], REFERENCE: self.seconds[REFERENCE], HARNESS: own}
        if self.checked is not None:
            parts[DIAGNOSIS] = wall - checking
        shares = {name: round(seconds / (self.jobs * wall), 4) for name, seconds in parts.items()}
        rate = round(self.checks / checking, 1)
        return TimeAccount(seconds=round(wall, 2), workers=self.jobs, checks_per_second=rate, shares=shares)


def sentence(summary: TimeAccount) -> str:
    """Return the costs of a run in a line."""
    shares = summary.shares
    rest = max(0.0, 1 - sum(shares.values()))
    parts = {
        "implementations": shares[IMPLEMENTATION],
        "reference and error bounds": shares[REFERENCE],
        "this harness": shares[HARNESS],
        "diagnosis": shares.get(DIAGNOSIS, 0.0),
        "starting and waiting": rest,
    }
    listed = ", ".join(f"{name} {share:.0%}" for name, share in parts.items() if share or name != "diagnosis")
    workers = f"{summary.workers} worker{'s' if summary.workers > 1 else ''}"
    return f"time: {summary.seconds:.0f} s on {workers}: {listed}; {summary.checks_per_second:.0f} checks/s"


ItemVerdicts = tuple[Item, list[Verdict]]


@dataclass
class PoolRunner:
    """Runs items in worker processes. All implementations on a case go to one, which computes its error bounds once.

    jobs    workers; 0 for as many as the machine has room for
    load    files of implementations that a worker may have to import
    costs   what the items took is added there
    stopped why no further item is begun, once somebody says so
    """

    jobs: int = 0
    load: Sequence[Path] = ()
    limits: Limits = DEFAULT_LIMITS
    costs: Costs | None = None
    stopped: str = ""

    def run(
        self, items: Iterable[Item], finished: Collection[tuple[str, str, str]] = frozenset()
    ) -> Iterator[ItemVerdicts]:
        """Yield each item with its new verdicts, as they are known. What is skipped needs no worker.

        finished: (implementation, case, check) of verdicts that are there; an item of which all are there does not run
        """
        skipped: deque[Item] = deque()
        running: dict[int, Item] = {}
        places, groups, giving_up = itertools.count(), set[str](), GivingUp()

        def tasks() -> Iterator[Task]:
            for item in items:
                if all(key in finished for key in item.keys):
                    continue
                if item.skip is None and (why := self.stopped or giving_up.reason(item)):
                    item = replace(item, skip=(Status.NOT_ASKED, why))
                if item.skip is None:
                    running[next(places)] = item
                    task = _task(item, self.load)
                    groups.add(task.group)
                    yield task
                else:
                    skipped.append(item)

        def new(item: Item, verdicts: Iterable[Verdict]) -> ItemVerdicts:
            return item, [verdict for verdict in verdicts if verdict.key not in finished]

        results = pool.run_tasks(tasks(), jobs=self.jobs, limits=self.limits)
        for place, result in itertools.chain(results, [(-1, None)]):
            while skipped:
                item = skipped.popleft()
                yield new(item, run_checks(item))
            if place >= 0:
                item = running.pop(place)
                self._add_costs(result)
                giving_up.record(item, result.status if isinstance(result, Lost) else None)
                yield new(item, _verdicts(item, result))
        if self.costs:
            self.costs.jobs = max(1, min(self.costs.jobs, len(groups)))  # more workers than cases have nothing to do

    def _add_costs(self, result: Any) -> None:
        if self.costs and isinstance(result, worker.ItemResult):
            self.costs.add(result.seconds)
        elif self.costs and isinstance(result, Lost):
            self.costs.add({time_account.IMPLEMENTATION: result.seconds})


@contextlib.contextmanager
def item_worker(
    load: Sequence[Path] = (), limits: Limits = DEFAULT_LIMITS
) -> Iterator[Callable[[Item], list[Verdict]]]:
    """Give a function that runs one item after the other in a worker process; one that dies is replaced."""
    with pool.open_worker(limits) as one:

        def run(item: Item) -> list[Verdict]:
            return _verdicts(item, pool.result_of(one, _task(item, load)))

        yield run


def lost_verdicts(item: Item, lost: Lost) -> list[Verdict]:
    """Return the verdicts of an item whose process gave none."""
    path = item.implementation.path
    frames = [frame for frame in lost.frames if frame[0] == str(path.resolve())]
    place = f" ({path.name}:{frames[0][1]} in {frames[0][2]})" if frames else ""
    return [verdict(item, check, lost.status, reason=f"{lost}{place}") for check in item.checks]


def _task(item: Item, load: Sequence[Path]) -> Task:
    checks = tuple(check.name for check in item.checks)
    one = item.implementation
    arguments = (one.name, tuple(load), item.case.id, checks, one.capabilities)
    return Task(worker.run_item, arguments, item.allowance, group=item.case.on("cpu").id)


def _verdicts(item: Item, result: Any) -> list[Verdict]:
    if isinstance(result, Lost):
        return lost_verdicts(item, result)
    if isinstance(result, BaseException):  # raised in the worker, around the checks: the run goes on
        return [verdict(item, check, Status.ERROR, reason=describe(result)) for check in item.checks]
    return list(result.verdicts)
