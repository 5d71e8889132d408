"""A harness that is killed leaves no process behind: no worker, no child of one, no daemon, no fork server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from tests.conftest import ROOT
from tests.registry.sources import TINY, write
from tests.reliability.hostile import BY_NAME, MARK
from tests.reliability.processes import hears_interrupts, left


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=str)
def test_nothing_outlives_the_harness(how, tmp_path):
    """A worker that never answers and a daemon of its own end with it."""
    flag, mark = tmp_path / "begun", uuid.uuid4().hex
    top = BY_NAME["daemon"].top + "import pathlib\n"
    body = f"daemon()\n        pathlib.Path({str(flag)!r}).touch()\n        while True: pass"
    path = write(tmp_path / "never.py", top=top, body=body)
    command = [sys.executable, "-m", "attention_harness", "check", "--load", path, "--case", TINY, "--jobs", "1"]
    run = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {MARK: mark}, stderr=subprocess.DEVNULL, preexec_fn=hears_interrupts
    )
    deadline = time.monotonic() + 300
    while not flag.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert flag.exists(), "it never began"
    assert len(left(mark, 0)) >= 4, "harness, fork server, worker, daemon"
    run.send_signal(how)
    assert run.wait(60) != 0
    assert [] == left(mark)
