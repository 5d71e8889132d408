"""What runs in a worker process: how it answers a task, the processes of implementations, and the task of one item."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import format_exc
from typing import Any

import psutil
from pebble.common.types import RemoteException

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks import CHECKS
from attention_harness.execution import beginning, processes
from attention_harness.execution.apart import Apart
from attention_harness.execution.hosts import Host
from attention_harness.execution.lost import READS_OUTPUT, Lost
from attention_harness.execution.plan import Item, plan_item
from attention_harness.execution.run import verdicts_of
from attention_harness.host import memory
from attention_harness.host.loading import Facts
from attention_harness.host.process_state import live_threads, process_state
from attention_harness.model import time_account
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.errors import HarnessError, describe
from attention_harness.model.verdict import Verdict

_GROWN = 4  # a worker that keeps 1/4 of its limit after a task is replaced, or the next would be blamed for it
_MOST = 16  # processes of implementations at a time


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


def reply(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, bool]:
    """Return a function's value, or what it raised, and whether this process must not meet the next task."""
    try:
        value = function(*arguments)
    except Lost as lost:  # in a process of its own
        value = Raised(lost)
    except BaseException as error:
        return Raised(RemoteException(_sendable(error), format_exc())), True  # what it has become is not known
    begun, changed = beginning.worker, False
    if function is not run_item:  # nobody else's code runs here in that
        state = process_state()
        changed = bool(begun.state.changed(state) or begun.state.replaced(state))
    threads = {name for name in live_threads() - begun.threads if not name.startswith(READS_OUTPUT)}
    busy = threads or strangers()
    grown = memory.private_memory() - begun.private_memory > begun.allowed_memory // _GROWN
    return value, bool(changed or busy or grown or not begun.nursery.lives())


def _sendable(error: BaseException) -> Exception:
    """Return an exception, or its words: of one that does not travel, and of one that ends whoever meets it."""
    with contextlib.suppress(BaseException):  # whatever its own code raises
        if isinstance(error, Exception) and pickle.loads(pickle.dumps(error)):
            return error
    return RuntimeError(describe(error))


# --- the processes of implementations

_apart: dict[tuple[str, tuple[Path, ...]], Apart] = {}


def apart(name: str, load: tuple[Path, ...]) -> Apart:
    """Return an implementation in a process of its own, which is started where there is none."""
    key = name, load
    if key not in _apart:
        _make_room()
        source = registry.source(name, load)
        host = Host(source, beginning.worker.nursery, beginning.worker.allowed_memory)
        with time_account.spent(time_account.IMPLEMENTATION):
            _apart[key] = Apart(host, _facts(host))
    return _apart[key]


def _facts(host: Host) -> Facts:
    try:
        facts = host.ask("begin").facts
    except HarnessError:
        host.end()
        raise
    assert facts is not None
    return facts


def end(one: Apart) -> None:
    """End the process of an implementation: the next case of it meets another one."""
    one.host.end()
    for key in [key for key, found in _apart.items() if found is one]:
        del _apart[key]


def _make_room() -> None:
    """End the processes of all implementations where together they keep more than one may."""
    kept = sum(memory.private_memory(one.host.pid) for one in _apart.values())
    if kept > beginning.worker.allowed_memory // _GROWN or len(_apart) >= _MOST:
        for one in list(_apart.values()):
            end(one)


def strangers() -> list[psutil.Process]:
    """Return the processes below this one that somebody's code started."""
    known = {beginning.worker.nursery.pid, *(one.host.pid for one in _apart.values())}
    return [process for process in processes.descendants(os.getpid()) if process.pid not in known]


# --- tasks


def run_item(
    name: str, load: tuple[Path, ...], case_id: str, checks: tuple[str, ...], declared: Capabilities
) -> ItemResult:
    """Return the result of one item, which is named, not sent.

    declared: what the item was planned by, which is what it has to declare where it is judged too
    """
    time_account.taken()
    with time_account.spent(time_account.HARNESS):
        one = apart(name, load)
        if one.capabilities != declared:
            raise HarnessError(f"{one.path}: it declares other capabilities where it is judged than it did before")
        item = plan_item(one, parse(case_id))
        item = replace(item, checks=tuple(check for check in CHECKS if check.name in checks))
        verdicts = verdicts_apart(item, one)
    return ItemResult(tuple(verdicts), time_account.taken())


def verdicts_apart(item: Item, one: Apart) -> list[Verdict]:
    """Return the verdicts of an item, and end the process of its implementation if the next item must not meet it."""
    try:
        verdicts, spoilt = verdicts_of(item, one)
    except BaseException:
        end(one)
        raise
    if spoilt:
        end(one)
    return verdicts


def implementation(name: str, load: tuple[Path, ...]) -> registry.Implementation:
    """Return an implementation that is imported here, to be timed."""
    return registry.imported(registry.source(name, load))
