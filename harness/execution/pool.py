"""Where work runs: each item in a worker process with limits, so that a crash or a hang is a verdict.

The pools are pebble's. Workers are started by a fork server, never forked from a process that has used torch: that
deadlocks in torch's thread pool. Each has a pool of its own: the workers of one pool share a pipe and its lock, and one
that dies with the lock would stop the others. What a worker has become by an item - dead, spoilt, grown - the next item
does not meet: it is replaced.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pickle
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from traceback import format_exc
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool
from pebble.common.types import RemoteException

from attention_harness import registry
from attention_harness.cases.cases import parse
from attention_harness.checks import CHECKS, Check
from attention_harness.execution import conformance, output, processes
from attention_harness.execution.conformance import Item
from attention_harness.execution.costs import Costs
from attention_harness.execution.process_state import World, company, world
from attention_harness.execution.processes import UNLIMITED
from attention_harness.model import time_account, units
from attention_harness.model.errors import HarnessError
from attention_harness.model.verdict import Status, Verdict

ITEM_SECONDS = 300.0
"""Time limit of one implementation on one case, all checks together; a cold compilation takes up to a minute."""

_AHEAD = 2  # groups that wait for a worker: enough to keep all busy, few enough to keep memory flat
_ENDED = "the run was ended"
_LOOK = 0.2  # seconds between two looks at a worker's memory
_START_SECONDS = 120.0  # for a worker to begin: long, since a machine may be busy
_GROWN = 4  # a worker that keeps 1/4 of its limit after an item is replaced, or the next would be blamed for it


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may take. memory: bytes beyond what a fresh worker has; 0 for a share of the machine's."""

    seconds: float = ITEM_SECONDS
    memory: int = 0

    def of(self, jobs: int) -> Limits:
        """Return them with the share of each of so many workers, where no memory is given."""
        return self if self.memory else replace(self, memory=processes.memory_share(jobs))


class Lost(Exception):
    """A worker process gave no answer. status: `crash` or `timeout`; its text is the reason.

    frames: where it was at a fatal signal, the innermost first: (file, line, function)
    seconds: how long it was waited for
    """

    seconds = 0.0

    def __init__(self, status: Status, reason: str, frames: Sequence[tuple[str, str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.frames = frames


@dataclass(frozen=True, slots=True)
class Task:
    """A module's function and its arguments; both travel to a worker.

    allowance   seconds beyond the limit
    group       tasks that follow each other in one group go to one worker, which keeps what they share
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    allowance: float = 0.0
    group: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an item gave. seconds: by account of the ledger."""

    verdicts: tuple[Verdict, ...]
    seconds: Mapping[str, float]


def default_jobs() -> int:
    """Return how many workers the machine has room for."""
    return max(1, min(len(os.sched_getaffinity(0)), 8)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    items: Iterable[Item],
    *,
    jobs: int = 0,
    load: Sequence[Path] = (),
    seconds: float = ITEM_SECONDS,
    memory: int = 0,
    costs: Costs | None = None,
) -> Iterator[tuple[Item, list[Verdict]]]:
    """Yield each item with its verdicts, as they are there. What is not checked needs no worker.

    All implementations on a case go to one worker: it computes the case's inputs, reference and error bounds once.

    costs: what the items took is added there
    """
    skipped: deque[Item] = deque()
    asked: dict[int, Item] = {}
    places, groups = itertools.count(), set[str]()

    def tasks() -> Iterator[Task]:
        for item in items:
            if item.skip is None:
                asked[next(places)] = item
                task = _task(item, load)
                groups.add(task.group)
                yield task
            else:
                skipped.append(item)

    for place, answer in itertools.chain(each(tasks(), jobs=jobs, limits=Limits(seconds, memory)), [(-1, None)]):
        while skipped:
            item = skipped.popleft()
            yield item, list(conformance.run(item))
        if place >= 0:
            item = asked.pop(place)
            if costs and isinstance(answer, Answered):
                costs.add(answer.seconds)
            elif costs and isinstance(answer, Lost):
                costs.add({time_account.IMPLEMENTATION: answer.seconds})
            yield item, _collect(item, answer)
    if costs:
        costs.jobs = max(1, min(costs.jobs, len(groups)))  # more workers than cases are never asked


def each(
    tasks: Iterable[Task],
    *,
    jobs: int = 0,
    limits: Limits = Limits(),
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield the place of each task, and what it gave: its value, or the exception, `Lost` among them; as they come."""
    jobs = jobs or default_jobs()
    groups = itertools.groupby(enumerate(tasks), key=lambda numbered: numbered[1].group or numbered[0])
    workers = [Worker(limits.of(jobs), start) for _ in range(jobs)]
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for one in workers:
        free.put(one)
    answers: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()  # None: a group is done

    def ask(group: Sequence[tuple[int, Task]]) -> None:
        one = free.get()
        try:
            for place, task in group:
                try:
                    answers.put((place, _given(one, task)))
                except BaseException as error:  # it ends the task, not the thread
                    answers.put((place, error))
        finally:
            free.put(one)
            answers.put(None)

    threads = ThreadPoolExecutor(jobs)
    open_groups = 0
    try:
        while True:
            while open_groups < jobs + _AHEAD and (group := next((list(own) for _, own in groups), None)):
                threads.submit(ask, group)
                open_groups += 1
            if not open_groups:
                return
            answer = answers.get()
            if answer is None:
                open_groups -= 1
            else:
                yield answer
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for one in workers:
            one.stop()
        threads.shutdown()


def _given(worker: Worker, task: Task) -> Any:
    began = time.monotonic()
    try:
        return worker.ask(task.function, *task.arguments, allowance=task.allowance)
    except Lost as lost:
        lost.seconds = time.monotonic() - began
        return lost
    except Exception as error:  # also what code under test raised; Ctrl-C is not its doing
        return error


class Worker:
    """A process that answers one task after the other; one that dies, hangs or is spoilt is replaced."""

    def __init__(self, limits: Limits, start: Callable[[], None] | None = None) -> None:
        self.limits = limits
        self._start = start or start_worker
        self._pool: ProcessPool | None = None
        self._context = processes.Context()
        self._output: output.Output | None = None
        self._stopped = False
        self._mutex = threading.Lock()

    def ask(self, function: Callable[..., Any], *arguments: Any, allowance: float = 0.0) -> Any:
        """Return what the function returns there, or raise what it raised; `Lost` where it gave no answer.

        allowance: seconds beyond the limit
        """
        seconds = self.limits.seconds + allowance
        with self._mutex:
            future = self._ready().schedule(_reply, args=(function, arguments), timeout=seconds)
        try:
            value, spoilt = self._await(future)
        except (OutOfTime, ProcessExpired) as error:
            self._end()
            raise self._lost(error, seconds) from None
        except BaseException:
            self._end()  # what it has become is not known
            raise
        if spoilt:
            self._end()
        if isinstance(value, _Raised):
            raise value.error
        return value

    def stop(self) -> None:
        """End the process and all that it started; what it was asked is lost."""
        self._stopped = True
        self._end()

    def _ready(self) -> ProcessPool:
        if self._stopped:
            raise Lost(Status.CRASH, _ENDED)
        if self._pool is None:
            self._output = output.Output()
            given = (self._start, self._output.writer, self.limits.memory)
            self._pool = ProcessPool(1, initializer=_begin, initargs=given, context=self._context)
        return self._pool

    def _await(self, future: ProcessFuture[Any]) -> Any:
        waited = 0.0
        while True:
            try:
                return future.result(timeout=_LOOK)
            except OutOfTime:
                if future.done():  # its own limit, or just now
                    return future.result()
            if self._stopped:  # from another thread: nothing will answer
                raise Lost(Status.CRASH, _ENDED)
            pid = self._context.pid
            most = self.limits.memory + processes.FRESH
            if pid and self.limits.memory < UNLIMITED and processes.resident(pid, most) > most:
                told = f"its processes hold more than {units.size(self.limits.memory)}, its limit"
                raise Lost(Status.CRASH, f"out of memory: {told}")
            waited += 0 if future.running() else _LOOK
            if waited > _START_SECONDS:
                raise Lost(Status.CRASH, f"no worker process began within {_START_SECONDS:g} s")

    def _end(self) -> None:
        with self._mutex:
            if self._pool is None:
                return
            self._pool.stop()
            self._pool.join()
            self._pool = None
            self._context.forget()
            assert self._output is not None
            self._output.close()

    def _lost(self, error: Exception, seconds: float) -> Lost:
        if isinstance(error, OutOfTime):
            return Lost(Status.TIMEOUT, f"no answer within {seconds:g} s")
        assert self._output is not None
        assert isinstance(error, ProcessExpired)
        words = output.last_words(self._output.text)
        reason = processes.died_of(error.exitcode) + (f" ({words})" if words else "")
        reason = processes.out_of_memory(reason, self.limits.memory)
        return Lost(Status.CRASH, reason, self._output.frames())


@contextlib.contextmanager
def worker(
    load: Sequence[Path] = (), seconds: float = ITEM_SECONDS, memory: int = 0
) -> Iterator[Callable[[Item], list[Verdict]]]:
    """Give a function that asks one item after the other in a worker process; one that dies is replaced."""
    with open_worker(Limits(seconds, memory)) as one:

        def ask(item: Item) -> list[Verdict]:
            return _collect(item, _given(one, _task(item, load)))

        yield ask


def alone(function: Callable[..., Any], *arguments: Any, seconds: float, memory: int = 0) -> Any:
    """Return what a module's function returns in a worker process of its own; raise `Lost` where that gives nothing."""
    with open_worker(Limits(seconds, memory)) as one:
        return one.ask(function, *arguments)


@contextlib.contextmanager
def open_worker(limits: Limits, start: Callable[[], None] | None = None) -> Iterator[Worker]:
    """Give a worker, and end it."""
    one = Worker(limits.of(1), start)
    try:
        yield one
    finally:
        one.stop()


def importable(load: Sequence[Path], seconds: float = ITEM_SECONDS, memory: int = 0) -> None:
    """Import each file in a worker first: one that ends or stops the process there does not do it here."""
    if not load:
        return
    with open_worker(Limits(seconds, memory)) as one:
        for path in load:
            try:
                one.ask(_imports, path)
            except Lost as gone:
                raise HarnessError(f"--load {path}: importing it: {gone}") from gone
            except Exception:  # it is told when it is loaded
                continue


def _imports(path: Path) -> None:
    with contextlib.suppress(HarnessError):
        registry.implementations([path])


# --- in a worker

_fresh: World  # the process before any task
_alone: set[str]  # its threads then
_allowed = UNLIMITED
_held = 0


def start_worker() -> None:
    """Make a fresh process a worker: one thread, deaf to Ctrl-C."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run, and its workers with it
    torch.set_num_threads(1)
    # The workers are the parallelism; torch.compile's own would be processes left behind by whoever came first.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def _begin(start: Callable[[], None], writer: Connection, allowed: int) -> None:
    global _fresh, _alone, _allowed, _held
    processes.lead()
    output.catch(writer)
    start()
    processes.limit_memory(allowed)
    _fresh, _alone, _allowed, _held = world(), company(), allowed, processes.held()


def _reply(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, bool]:
    """Return what a task gave, and whether this process must not meet the next one."""
    try:
        value = function(*arguments)
    except BaseException as error:
        return _Raised(RemoteException(_sendable(error), format_exc())), True  # what it has become is not known
    now = world()
    spoilt = _fresh.changed(now) or _fresh.replaced(now) or company() - _alone or processes.below()
    return value, bool(spoilt) or processes.held() - _held > _allowed // _GROWN


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a task raised, as a value: raised, a `TimeoutError` of its own would be taken for the time limit.

    error: a `RemoteException`, which arrives as the exception with the worker's traceback as its cause
    """

    error: Any


def _sendable(error: BaseException) -> Exception:
    """Return an exception, or its words: of one that does not travel, and of one that ends whoever meets it."""
    with contextlib.suppress(BaseException):  # whatever its own code raises
        if isinstance(error, Exception) and pickle.loads(pickle.dumps(error)):
            return error
    return RuntimeError(conformance.last_line(error))


def _task(item: Item, load: Sequence[Path]) -> Task:
    asked = (item.implementation.name, tuple(load), item.case.id, tuple(check.name for check in item.checks))
    return Task(_work, asked, item.allowance, group=item.case.on("cpu").id)


def _work(name: str, load: tuple[Path, ...], case_id: str, checks: tuple[str, ...]) -> Answered:
    """Run one item in a worker; it is named, not sent: modules and compiled functions do not travel."""
    time_account.taken()
    with time_account.spent(time_account.HARNESS):
        with time_account.spent(time_account.IMPLEMENTATION):
            own = implementation(name, load)
        [item] = conformance.plan([own], [parse(case_id)])
        item = replace(item, checks=tuple(check for check in CHECKS if check.name in checks))
        verdicts = conformance.settled(item, _fresh)
    return Answered(tuple(verdicts), time_account.taken())


def implementation(name: str, load: tuple[Path, ...]) -> registry.Implementation:
    """Return an implementation; of the files to load, its own alone is imported: another's import is not its doing."""
    return _implementations(tuple(path for path in load if path.stem == name))[name]


@functools.cache
def _implementations(load: tuple[Path, ...]) -> dict[str, registry.Implementation]:
    return registry.implementations(load)


# --- what came of an item


def _collect(item: Item, answer: Any) -> list[Verdict]:
    if isinstance(answer, Lost):
        return lost(item, answer)
    if isinstance(answer, BaseException):  # raised in the worker, around the checks: the run goes on
        return [_unanswered(item, check, Status.ERROR, conformance.last_line(answer)) for check in item.checks]
    return list(answer.verdicts)


def lost(item: Item, gone: Lost) -> list[Verdict]:
    """Return the verdicts of an item whose process gave none."""
    path = item.implementation.path
    own = [frame for frame in gone.frames if frame[0] == str(path.resolve())]
    place = f" ({path.name}:{own[0][1]} in {own[0][2]})" if own else ""
    return [_unanswered(item, check, gone.status, f"{gone}{place}") for check in item.checks]


def _unanswered(item: Item, check: Check, status: Status, reason: str) -> Verdict:
    return conformance.verdict(item, check, status, reason=reason)
