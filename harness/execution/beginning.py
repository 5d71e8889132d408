"""How a worker begins: its output, its process group, the process that starts those of implementations, its limits.

The judge is imported after that process was forked, so that it is not in it; nothing may import it before.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from attention_harness.execution import processes
from attention_harness.execution.hosts import Nursery
from attention_harness.execution.lost import redirect_output
from attention_harness.host import memory
from attention_harness.host.process_state import ProcessState, live_threads, process_state


@dataclass(frozen=True)
class Beginning:
    """What a worker was before its first task."""

    state: ProcessState
    threads: set[str]
    private_memory: int
    allowed_memory: int
    nursery: Nursery


worker: Beginning
"""Of this process, if it is a worker."""


def start_worker() -> None:
    """Make a fresh process a worker: one thread, deaf to Ctrl-C."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run, and its workers with it
    torch.set_num_threads(1)
    # The workers are the parallelism; torch.compile's own would be processes left behind by whoever came first.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def begin(start: tuple[str, str], writer: Connection, limit: int) -> None:
    """Begin a worker: its output goes to the writer, its memory is limited. start: module and name of a function."""
    global worker
    processes.become_leader()
    processes.leave_fork_server()
    redirect_output(writer)
    start_worker()
    nursery = Nursery()
    module, name = start
    function: Callable[[], None] = getattr(importlib.import_module(module), name)
    function()
    importlib.import_module("attention_harness.execution.worker")
    memory.limit_memory(limit)
    worker = Beginning(process_state(), live_threads(), memory.private_memory(), limit, nursery)
