"""Where work runs: each item in a worker process with a time limit, so that a crash or a hang is a verdict.

The pool is pebble's. Workers are started by a fork server, never forked from a process that has used torch: that
deadlocks in torch's thread pool.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import replace
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from harness import conformance, registry
from harness.cases import parse
from harness.checks import CHECKS
from harness.conformance import Item
from harness.values import Status, Verdict

ITEM_SECONDS = 300.0
"""Time limit of one implementation on one case, all checks together; a cold compilation takes up to a minute."""

_AHEAD = 4  # items scheduled for each worker: enough to keep it busy, few enough to keep memory flat


def default_jobs() -> int:
    """Return how many workers the machine has room for."""
    return max(1, min(len(os.sched_getaffinity(0)), 8)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    items: Iterable[Item], *, jobs: int = 0, load: Sequence[Path] = (), seconds: float = ITEM_SECONDS
) -> Iterator[tuple[Item, list[Verdict]]]:
    """Yield each item with its verdicts, in the order of the plan. What is not checked needs no worker."""
    workers: ProcessPool | None = None
    waiting: deque[tuple[Item, ProcessFuture[list[Verdict]] | None]] = deque()
    jobs = jobs or default_jobs()
    plan = iter(items)
    try:
        while True:
            for item in itertools.islice(plan, max(0, jobs * _AHEAD - len(waiting))):
                if item.skip is not None:
                    waiting.append((item, None))
                    continue
                workers = workers or pool(jobs)
                names = tuple(check.name for check in item.checks)
                asked = (item.implementation.name, tuple(load), item.case.id, names)
                waiting.append((item, workers.schedule(_work, args=asked, timeout=seconds)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield item, list(conformance.run(item)) if future is None else _collect(item, future, seconds)
    finally:
        if workers is not None:
            workers.stop()
            workers.join()


class Lost(Exception):
    """A worker process gave no answer. status: `crash` or `timeout`; its text is the reason."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@contextlib.contextmanager
def worker(load: Sequence[Path] = (), seconds: float = ITEM_SECONDS) -> Iterator[Callable[[Item], list[Verdict]]]:
    """Give a function that asks one item after the other in a worker process; one that dies is replaced."""
    workers = pool(1)

    def ask(item: Item) -> list[Verdict]:
        asked = (item.implementation.name, tuple(load), item.case.id, tuple(check.name for check in item.checks))
        return _collect(item, workers.schedule(_work, args=asked, timeout=seconds), seconds)

    try:
        yield ask
    finally:
        workers.stop()
        workers.join()


def alone(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """Return what a module's function returns in a worker process of its own; raise `Lost` where that gives nothing."""
    workers = pool(1)
    try:
        return answer(workers.schedule(function, args=arguments, timeout=seconds), seconds)
    finally:
        workers.stop()
        workers.join()


def answer(future: ProcessFuture[Any], seconds: float) -> Any:
    """Return what a worker answered; raise `Lost` where it died, or took longer than its time limit of `seconds`."""
    try:
        return future.result()
    except OutOfTime:
        raise Lost(Status.TIMEOUT, f"no answer within {seconds:g} s") from None
    except ProcessExpired as error:
        raise Lost(Status.CRASH, f"its process died: {_cause(error.exitcode)}") from None


def pool(jobs: int, start: Callable[[], None] | None = None) -> ProcessPool:
    """Return a pool of workers that have torch; each begins with `start`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    return ProcessPool(max_workers=jobs, initializer=start or start_worker, context=context)


def start_worker() -> None:
    """Make a fresh process a worker: one thread, deaf to Ctrl-C, nothing on standard output."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run, and its workers with it
    torch.set_num_threads(1)
    os.dup2(2, 1)  # what an implementation prints must not stand in the JSON document on standard output


def _work(name: str, load: tuple[Path, ...], case_id: str, checks: tuple[str, ...]) -> list[Verdict]:
    """Run one item in a worker; it is named, not sent: modules and compiled functions do not travel."""
    known = implementations(load)
    [item] = conformance.plan([known[name]], [parse(case_id)])
    return list(conformance.run(replace(item, checks=tuple(check for check in CHECKS if check.name in checks))))


@functools.cache
def implementations(load: tuple[Path, ...]) -> dict[str, registry.Implementation]:
    """Return every implementation by name, each file loaded once in a worker."""
    return registry.implementations(load)


def _collect(item: Item, future: ProcessFuture[list[Verdict]], seconds: float) -> list[Verdict]:
    try:
        return list(answer(future, seconds))
    except Lost as gone:
        return lost(item, gone.status, str(gone))
    except Exception as error:  # raised in the worker, around the checks: the run goes on
        return lost(item, Status.ERROR, conformance.last_line(error))


def lost(item: Item, status: Status, reason: str) -> list[Verdict]:
    """Return the verdicts of an item whose process gave none."""
    return [conformance.verdict(item, check, status, reason=reason) for check in item.checks]


def _cause(exitcode: Any) -> str:
    if isinstance(exitcode, int) and exitcode < 0:
        try:
            return signal.Signals(-exitcode).name
        except ValueError:
            return f"signal {-exitcode}"
    return f"exit status {exitcode}"
