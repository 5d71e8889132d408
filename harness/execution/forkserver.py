"""Preloaded into the process that starts the workers: whatever a worker leaves behind ends with it.

Linux gives a process that lost its parent to the nearest ancestor that adopts. A worker adopts what its own children
start; when it dies, this process does, where `execution.pool` finds it. The harness holds one end of a pipe
to this process, so that it ends with the harness, however that ends, and everything below it too.
"""

from __future__ import annotations

import atexit
import os
import warnings

from attention_harness.execution import processes

_FORK_SERVER = os.getpid()


def _end() -> None:
    if os.getpid() == _FORK_SERVER:  # and not in a child that inherited this
        processes.end(lambda: processes.descendants(_FORK_SERVER))


processes.adopt_orphans()
atexit.register(_end)
warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")  # of what it adopted
