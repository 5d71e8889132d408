"""What is started within leaves nothing behind, and the harness's process is afterwards what it was."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from attention_harness.execution import processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who adopts a process is asked of /proc")


def orphan() -> tuple[int, int]:
    """Start a process whose parent ends at once; return it and the one that it was given to."""
    command = ["sh", "-c", "sleep 60 > /dev/null 2>&1 & echo $!"]
    child = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return child, int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])


def test_orphans_are_adopted_within_and_not_afterwards():
    """Within, it comes to this process and is ended with it; afterwards orphans go to whoever had them before."""
    before, given_before = orphan()
    with processes.no_process_left():
        within, given_within = orphan()
    after, given_after = orphan()
    for child in (before, after):
        os.kill(child, signal.SIGKILL)
    assert os.getpid() == given_within
    assert given_before == given_after != os.getpid()
    assert within not in [process.pid for process in processes.descendants(os.getpid())]
