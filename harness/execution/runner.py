"""Runs the items of a plan, each in a worker process with limits."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_harness.execution import pool, worker
from attention_harness.execution.costs import Costs
from attention_harness.execution.limits import DEFAULT_LIMITS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item
from attention_harness.execution.pool import Task
from attention_harness.execution.run import run_checks, verdict
from attention_harness.model import time_account
from attention_harness.model.errors import HarnessError, describe
from attention_harness.model.verdict import Status, Verdict

ItemVerdicts = tuple[Item, list[Verdict]]


@dataclass
class PoolRunner:
    """Runs items in worker processes. All implementations on a case go to one, which computes its error bounds once.

    jobs    workers; 0 for as many as the machine has room for
    load    files of implementations that a worker may have to import
    costs   what the items took is added there
    """

    jobs: int = 0
    load: Sequence[Path] = ()
    limits: Limits = DEFAULT_LIMITS
    costs: Costs | None = None

    def run(
        self, items: Iterable[Item], finished: Collection[tuple[str, str, str]] = frozenset()
    ) -> Iterator[ItemVerdicts]:
        """Yield each item with its new verdicts, as they are known. What is skipped needs no worker.

        finished: (implementation, case, check) of verdicts that are there; an item of which all are there does not run
        """
        skipped: deque[Item] = deque()
        running: dict[int, Item] = {}
        places, groups = itertools.count(), set[str]()

        def tasks() -> Iterator[Task]:
            for item in items:
                if all(key in finished for key in item.keys):
                    continue
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


def check_imports(load: Sequence[Path], limits: Limits = DEFAULT_LIMITS) -> None:
    """Import each file in a worker first: one that ends or stops the process there does not do it here."""
    if not load:
        return
    with pool.open_worker(limits) as one:
        for path in load:
            try:
                one.ask(worker.import_file, path)
            except Lost as lost:
                raise HarnessError(f"--load {path}: importing it: {lost}") from lost
            except Exception:  # it is said when the file is loaded
                continue


def lost_verdicts(item: Item, lost: Lost) -> list[Verdict]:
    """Return the verdicts of an item whose process gave none."""
    path = item.implementation.path
    frames = [frame for frame in lost.frames if frame[0] == str(path.resolve())]
    place = f" ({path.name}:{frames[0][1]} in {frames[0][2]})" if frames else ""
    return [verdict(item, check, lost.status, reason=f"{lost}{place}") for check in item.checks]


def _task(item: Item, load: Sequence[Path]) -> Task:
    checks = tuple(check.name for check in item.checks)
    arguments = (item.implementation.name, tuple(load), item.case.id, checks)
    return Task(worker.run_item, arguments, item.allowance, group=item.case.on("cpu").id)


def _verdicts(item: Item, result: Any) -> list[Verdict]:
    if isinstance(result, Lost):
        return lost_verdicts(item, result)
    if isinstance(result, BaseException):  # raised in the worker, around the checks: the run goes on
        return [verdict(item, check, Status.ERROR, reason=describe(result)) for check in item.checks]
    return list(result.verdicts)
