"""Two runs in one directory refuse each other; a reader says that somebody writes; a kill frees the directory."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from attention_harness import store
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store import lock
from tests.conftest import ROOT

PASS = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.25)
FACTS = RunFacts(command="check", planned=1, plan="a")
HOLDS = """
import sys, time
from pathlib import Path
from attention_harness.model.run_facts import RunFacts
from attention_harness.store import Writer
writer = Writer.start(Path(sys.argv[1]), RunFacts(planned=1, plan="a"))
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """A process that is writing the directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert b"locked\n" == process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_two_runs_refuse_each_other(tmp_path, other, monkeypatch):
    """Whoever comes second is told the process that was first, and changes nothing."""
    monkeypatch.setattr(lock, "_SECONDS", 0.1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for attempt in (store.Writer.start, store.Writer.resume):
        with pytest.raises(HarnessError) as caught:
            attempt(tmp_path, FACTS)
        assert f"{tmp_path} is being written by process {other.pid} (python -m attention_harness" in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_kill_frees_the_directory(tmp_path, other):
    """The kernel releases the lock: nobody has to remove a file."""
    other.kill()
    other.wait()
    writer, verdicts, repaired = store.Writer.resume(tmp_path, FACTS)
    writer.add(PASS)
    assert ([], "", [PASS]) == (verdicts, repaired, writer.items(Verdict))


def test_report_of_a_run_that_goes_on(tmp_path, other, harness):
    """`report` tells what is there, and by whom more is being written; a line that is growing is no damage."""
    (tmp_path / "verdicts.jsonl").write_text('{"growing": ')
    answer = harness("report", tmp_path)
    assert answer.status == 0
    [line] = answer.err.splitlines()
    assert f"{tmp_path} is being written by process {other.pid}" in line
    assert "is being written by process" in (tmp_path / "report.md").read_text()


def test_a_writer_that_is_closed_lets_others_in(tmp_path):
    """By `with`, and by going out of use: in one process a run can follow another."""
    with store.Writer.start(tmp_path, FACTS):
        assert f"process {os.getpid()}" in lock.holder(tmp_path)
    assert "" == lock.holder(tmp_path)
    store.Writer.resume(tmp_path, FACTS)
    store.Writer.resume(tmp_path, FACTS)[0].close()


def test_looking_is_not_holding(tmp_path):
    """A reader in the middle of its look is waited for."""
    import fcntl
    import threading

    store.Writer.start(tmp_path, FACTS).close()
    looking = os.open(tmp_path / lock.FILE, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Thread(target=lambda: (time.sleep(0.2), os.close(looking))).start()
    with store.Writer.resume(tmp_path, FACTS)[0]:
        assert f"process {os.getpid()}" in lock.holder(tmp_path)


def test_where_nothing_was_begun_nobody_writes(tmp_path):
    """No file is made by looking."""
    assert "" == lock.holder(tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_stands_in_a_locks_place_holds_nobody_up(tmp_path, put):
    """A stranger's directory may hold a pipe that nobody writes, or a link to a file without an end."""
    put(tmp_path / lock.FILE)
    assert "" == lock.holder(tmp_path)


def test_a_writers_name_is_read_up_to_a_length(tmp_path, other):
    """However long a stranger made the file."""
    with (tmp_path / lock.FILE).open("ab") as file:
        file.truncate(2**40)
    assert 4100 > len(lock.holder(tmp_path)) > 1000
