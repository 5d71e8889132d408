"""A pool of worker processes: each task runs in one, with limits, so that a crash or a hang is its result.

The pools are pebble's. Workers are started by a fork server, never forked from a process that has used torch: that
deadlocks in torch's thread pool. Each has a pebble pool to itself: the workers of one pool share a pipe and its lock,
and one that dies with the lock would stop the others. What a task has made of a worker - dead, spoilt, grown - the
next task does not meet: the worker is replaced.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.spawn
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from attention_harness.execution import processes
from attention_harness.execution.beginning import begin, start_worker
from attention_harness.execution.limits import DEFAULT_LIMITS, Limits
from attention_harness.execution.lost import Lost, Output, check_memory
from attention_harness.execution.machine import cores
from attention_harness.model.verdict import Status

# What every worker needs, and nothing of the judge: the processes of implementations are forked from this one too.
# torch imports the last, and sympy with it, at the first gradient, in half a second.
_PRELOADED = [
    "torch",
    "attention_harness.execution.forkserver",
    "attention_harness.execution.beginning",
    "torch.fx.experimental.symbolic_shapes",
]

EXITED_WITH_0 = 256
"""Stands for exit status 0 where pebble asks: no process can end with this status."""

_guard = threading.Lock()  # between the start of a worker and its being known
_workers: set[int] = set()


_alone = threading.Lock()  # held where a task runs again whose fork server died: which of several ended it shows then


class _Orphaned(Exception):
    """The fork server died while a task ran, by whichever task."""


def _fork_server() -> int | None:
    """Return the process id of the fork server, if one was started."""
    server: int | None = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return server


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Start processes that do not import the main module again: it may import the judge, and no task is in it."""
    prepare = multiprocessing.spawn.get_preparation_data

    def without(name: str) -> dict[str, Any]:
        return {key: value for key, value in prepare(name).items() if not key.startswith("init_main")}

    multiprocessing.spawn.get_preparation_data = without  # type: ignore[assignment]
    try:
        yield
    finally:
        multiprocessing.spawn.get_preparation_data = prepare


class _Process(multiprocessing.context.ForkServerProcess):
    """A worker's process as pebble sees it. One that ends with status 0 of its own accord has died like any other."""

    server: int | None = None  # the process that started it

    def start(self) -> None:
        with _guard, _without_main_module():
            super().start()
            self.server = _fork_server()
            if self.pid:
                _workers.add(self.pid)

    @property
    def exitcode(self) -> int | None:
        """As `Process.exitcode`, but never 0: pebble would take that for an orderly end and wait for an answer."""
        code = super().exitcode
        return EXITED_WITH_0 if code == 0 else code

    def terminate(self) -> None:
        """End it and its process group at once: it may be deaf to anything softer."""
        if self.pid and super().exitcode is None:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            super().kill()


class Context(multiprocessing.context.ForkServerContext):
    """Starts the processes of one worker, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.set_forkserver_preload(_PRELOADED)
        self._started: list[_Process] = []

    def Process(self, *arguments: Any, **keywords: Any) -> _Process:  # type: ignore[override]
        """Return a process that is not started yet, as pebble asks for it."""
        self._started.append(_Process(*arguments, **keywords))
        return self._started[-1]

    @property
    def pid(self) -> int | None:
        """The process that was started last."""
        return self._started[-1].pid if self._started else None

    @property
    def orphaned(self) -> bool:
        """Whether a fork server that started it has died."""
        servers = {process.server for process in self._started} - {None}
        return not all(processes.lives(server) for server in servers if server)

    def clean_up(self) -> None:
        """End what the processes of this worker, which have ended, left behind."""
        with _guard:
            for process in self._started:
                if process.pid is not None:
                    _workers.discard(process.pid)
                    with contextlib.suppress(OSError):
                        os.killpg(process.pid, signal.SIGKILL)
            self._started.clear()
            if server := _fork_server():
                processes.end(
                    lambda: [
                        process
                        for child in processes.descendants(server, recursive=False)
                        if child.pid not in _workers
                        for process in processes.tree(child)
                    ]
                )


_AHEAD = 2  # groups that wait for a worker: enough to keep all busy, few enough to keep memory flat
_MOST_JOBS = 8  # more of them on one machine wait for its memory
_LOOK = 0.2  # seconds between two looks at a worker's memory
_START_SECONDS = 120.0  # for a worker to begin: long, since a machine may be busy


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


def default_jobs() -> int:
    """Return how many workers the machine has room for."""
    return min(cores(), _MOST_JOBS)


def run_tasks(
    tasks: Iterable[Task],
    *,
    jobs: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    start: Callable[[], None] = start_worker,
) -> Iterator[tuple[int, Any]]:
    """Yield the place of each task and its result, as they come: a value, or the exception, `Lost` among them."""
    jobs = jobs or default_jobs()
    groups = itertools.groupby(enumerate(tasks), key=lambda numbered: numbered[1].group or numbered[0])
    workers = [Worker(limits.divided(jobs), start) for _ in range(jobs)]
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for one in workers:
        free.put(one)
    results: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()  # None: a group is done

    def run_group(group: Sequence[tuple[int, Task]]) -> None:
        one = free.get()
        try:
            for place, task in group:
                try:
                    results.put((place, result_of(one, task)))
                except BaseException as error:  # it ends the task, not the thread
                    results.put((place, error))
        finally:
            free.put(one)
            results.put(None)

    threads = ThreadPoolExecutor(jobs)
    open_groups = 0
    try:
        while True:
            while open_groups < jobs + _AHEAD and (group := next((list(members) for _, members in groups), None)):
                threads.submit(run_group, group)
                open_groups += 1
            if not open_groups:
                return
            result = results.get()
            if result is None:
                open_groups -= 1
            else:
                yield result
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for one in workers:
            one.stop()
        threads.shutdown()


def run_alone(function: Callable[..., Any], *arguments: Any, seconds: float, memory: int = 0) -> Any:
    """Return what a module's function returns in a worker process of its own; raise `Lost` where that gives nothing."""
    with open_worker(Limits(seconds, memory)) as one:
        return one.ask(function, *arguments)


@contextlib.contextmanager
def open_worker(limits: Limits, start: Callable[[], None] = start_worker) -> Iterator[Worker]:
    """Give a worker, and end it."""
    one = Worker(limits.divided(1), start)
    try:
        yield one
    finally:
        one.stop()


def result_of(one: Worker, task: Task) -> Any:
    """Return the value of a task, or the exception that it raised or was lost by."""
    began = time.monotonic()
    try:
        return one.ask(task.function, *task.arguments, allowance=task.allowance)
    except Lost as lost:
        lost.seconds = time.monotonic() - began
        return lost
    except Exception as error:  # also what code under test raised; Ctrl-C is not its doing
        return error


class Worker:
    """A process that answers one task after the other; one that dies, hangs or is spoilt is replaced."""

    def __init__(self, limits: Limits, start: Callable[[], None] = start_worker) -> None:
        self.limits = limits
        self._start = start
        self._pool: ProcessPool | None = None
        self._context = Context()
        self._output: Output | None = None
        self._stopped = False
        self._mutex = threading.Lock()

    def ask(self, function: Callable[..., Any], *arguments: Any, allowance: float = 0.0) -> Any:
        """Return what the function returns there, or raise what it raised; `Lost` where it gave no answer.

        allowance: seconds beyond the limit
        """
        with contextlib.suppress(_Orphaned):
            return self._ask(function, arguments, allowance)
        with _alone:
            try:
                return self._ask(function, arguments, allowance)
            except _Orphaned:
                raise Lost(Status.CRASH, "it ended the process that had started its own") from None

    def _ask(self, function: Callable[..., Any], arguments: tuple[Any, ...], allowance: float) -> Any:
        from attention_harness.execution import worker  # here: a worker has this module before it begins

        seconds = self.limits.seconds + allowance
        try:
            with self._mutex:
                future = self._ready().schedule(worker.reply, args=(function, arguments), timeout=seconds)
            value, spoilt = self._await(future)
        except (OutOfTime, ProcessExpired, BrokenProcessPool) as error:
            orphaned = self._context.orphaned or isinstance(error, BrokenProcessPool)
            self._end()
            if orphaned and not self._stopped:
                raise _Orphaned from None
            raise self._lost(error, seconds) from None
        except BaseException:
            self._end()  # what it has become is not known
            raise
        if self._context.orphaned:
            self._end()
            raise _Orphaned
        if spoilt:
            self._end()
        if isinstance(value, worker.Raised):
            raise value.error
        return value

    def stop(self) -> None:
        """End the process and all that it started; a task that it has is lost."""
        self._stopped = True
        self._end()

    def _ready(self) -> ProcessPool:
        if self._stopped:
            raise Lost(Status.CRASH, "the run was ended")
        if self._pool is None:
            self._output = Output()
            start = (self._start.__module__, self._start.__qualname__)  # named: it is imported after the fork
            arguments = (start, self._output.writer, self.limits.memory)
            self._pool = ProcessPool(1, initializer=begin, initargs=arguments, context=self._context)
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
                raise Lost(Status.CRASH, "the run was ended")
            if pid := self._context.pid:
                check_memory(pid, self.limits.memory)
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
            self._context.clean_up()
            assert self._output is not None
            self._output.close()

    def _lost(self, error: Exception, seconds: float) -> Lost:
        if isinstance(error, OutOfTime):
            return Lost(Status.TIMEOUT, f"no answer within {seconds:g} s")
        if not isinstance(error, ProcessExpired):
            return Lost(Status.CRASH, "the run was ended")
        assert self._output is not None
        exitcode = 0 if error.exitcode == EXITED_WITH_0 else error.exitcode
        return self._output.death(exitcode, self.limits.memory)
