"""What runs in a worker process: how it begins, how it answers a task, and the task of one item."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from traceback import format_exc
from typing import Any

from pebble.common.types import RemoteException

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks import CHECKS
from attention_harness.execution import in_process, limits, processes
from attention_harness.execution.lost import redirect_output
from attention_harness.execution.plan import plan_item
from attention_harness.execution.process_state import ProcessState, live_threads, process_state
from attention_harness.execution.run import verdicts_of
from attention_harness.model import time_account
from attention_harness.model.errors import HarnessError, describe
from attention_harness.model.verdict import Verdict

_GROWN = 4  # a worker that keeps 1/4 of its limit after a task is replaced, or the next would be blamed for it


@dataclass(frozen=True)
class _Beginning:
    """What a worker was before its first task."""

    state: ProcessState
    threads: set[str]
    private_memory: int
    allowed_memory: int


_beginning: _Beginning


@dataclass(frozen=True, slots=True)
class Raised:
    """What a task raised, as a value: raised, a `TimeoutError` of its own would be taken for the time limit.

    error: a `RemoteException`, which arrives as the exception with the worker's traceback as its cause
    """

    error: Any


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The verdicts of an item, and the seconds that it took by account."""

    verdicts: tuple[Verdict, ...]
    seconds: Mapping[str, float]


def start_worker() -> None:
    """Make a fresh process a worker: one thread, deaf to Ctrl-C."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run, and its workers with it
    torch.set_num_threads(1)
    # The workers are the parallelism; torch.compile's own would be processes left behind by whoever came first.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def begin(start: Callable[[], None], writer: Connection, memory: int) -> None:
    """Begin a worker: its output goes to the writer, its memory is limited."""
    global _beginning
    processes.become_leader()
    processes.leave_fork_server()
    redirect_output(writer)
    start()
    limits.limit_memory(memory)
    _beginning = _Beginning(process_state(), live_threads(), limits.private_memory(), memory)


def reply(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, bool]:
    """Return a function's value, or what it raised, and whether this process must not meet the next task."""
    try:
        value = function(*arguments)
    except BaseException as error:
        return Raised(RemoteException(_sendable(error), format_exc())), True  # what it has become is not known
    state = process_state()
    changed = _beginning.state.changed(state) or _beginning.state.replaced(state)
    busy = live_threads() - _beginning.threads or processes.descendants(os.getpid())
    grown = limits.private_memory() - _beginning.private_memory > _beginning.allowed_memory // _GROWN
    return value, bool(changed or busy or grown)


def _sendable(error: BaseException) -> Exception:
    """Return an exception, or its words: of one that does not travel, and of one that ends whoever meets it."""
    with contextlib.suppress(BaseException):  # whatever its own code raises
        if isinstance(error, Exception) and pickle.loads(pickle.dumps(error)):
            return error
    return RuntimeError(describe(error))


# --- tasks


def run_item(name: str, load: tuple[Path, ...], case_id: str, checks: tuple[str, ...]) -> ItemResult:
    """Return the result of one item, which is named, not sent: modules and compiled functions do not travel."""
    time_account.taken()
    with time_account.spent(time_account.HARNESS):
        with time_account.spent(time_account.IMPLEMENTATION), in_process.setting_up(name):
            found = implementation(name, load)
        item = plan_item(found, parse(case_id))
        item = replace(item, checks=tuple(check for check in CHECKS if check.name in checks))
        with in_process.environment_of(name):
            verdicts = verdicts_of(item, _beginning.state)
    return ItemResult(tuple(verdicts), time_account.taken())


def implementation(name: str, load: tuple[Path, ...]) -> registry.Implementation:
    """Return an implementation; of the files to load its own alone is imported, since another's may do harm."""
    return _implementations(tuple(path for path in load if path.stem == name))[name]


@functools.cache
def _implementations(load: tuple[Path, ...]) -> dict[str, registry.Implementation]:
    return registry.implementations(load)


def import_file(path: Path) -> None:
    """Import a file to load; what is wrong with it is said when the harness itself loads it."""
    with contextlib.suppress(HarnessError):
        registry.implementations([path])
