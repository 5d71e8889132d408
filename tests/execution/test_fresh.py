"""A fresh process streams its records; whatever becomes of it, they are there, and nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import time

import msgspec
import psutil
import pytest

from attention_harness.execution.fresh import Channel, run_fresh
from attention_harness.execution.lost import Lost
from attention_harness.model.verdict import Status

MIB = 2**20


def count(channel: Channel, least: int, most: int) -> None:
    """Write numbers, with the process, its one parent and a variable of its environment."""
    for number in range(least, most):
        channel.write({"number": number, "process": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")})


def large(channel: Channel) -> None:
    """Write more than a pipe holds."""
    channel.write({"samples": list(range(200_000))})


def write_and(channel: Channel, what: str) -> None:
    """Write a record, start a daemon that nobody waits for, and come to grief."""
    daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
    channel.write({"daemon": daemon.pid, "process": os.getpid()})
    if what == "dies":
        os.kill(os.getpid(), 9)
    if what == "leaves":
        os._exit(0)
    if what == "half a line":
        os.write(channel._descriptor, b'{"half":')
        os._exit(3)
    if what == "raises":
        raise ValueError("too late\nfor this")
    if what == "hangs":
        time.sleep(600)
    if what == "fills":
        bytearray(4 * 2**30)
    if what == "shares":
        import mmap

        memory = mmap.mmap(-1, 2**30)
        while True:
            memory.write(bytes(MIB)) if memory.tell() < 2**30 else time.sleep(1)
            channel.alive()


class Named(msgspec.Struct, tag=True):
    """A record with a type."""

    number: int


def structs(channel: Channel) -> None:
    """Write a struct."""
    channel.write(Named(7))


def slow(channel: Channel) -> None:
    """Write nothing for longer than the time for a stall, and say that it lives."""
    began = time.monotonic()
    while time.monotonic() - began < 5:
        channel.alive()
        time.sleep(0.05)
    channel.write({"done": True})


def test_records_come_as_they_are_written():
    """In order, of another process than this one, with the environment that it was given."""
    records = []
    run_fresh(count, 3, 6, on_record=records.append, environment={"OMP_NUM_THREADS": "7"}, stall_seconds=60)
    assert [3, 4, 5] == [record["number"] for record in records]
    assert {"7"} == {record["threads"] for record in records}
    assert 1 == len({record["process"] for record in records} - {os.getpid()})


def test_a_record_may_be_larger_than_a_pipe():
    """It arrives whole."""
    records = []
    run_fresh(large, on_record=records.append, stall_seconds=60)
    assert [list(range(200_000))] == [record["samples"] for record in records]


def test_records_may_be_structs():
    """They arrive as what they were."""
    records = []
    run_fresh(structs, on_record=records.append, record_type=Named, stall_seconds=60)
    assert [Named(7)] == records


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("dies", Status.CRASH, "its process died: SIGKILL"),
        ("leaves", Status.CRASH, "its process ended with exit status 0"),
        ("half a line", Status.CRASH, "its process died: exit status 3"),
        ("raises", Status.ERROR, "ValueError: too late"),
        ("hangs", Status.TIMEOUT, "nothing finished in 2 s"),
        ("fills", Status.ERROR, "out of memory: MemoryError: ; its limit is 64 MiB"),
        ("shares", Status.CRASH, "out of memory: its processes hold more than 64 MiB, its limit"),
    ],
)
def test_what_ends_it_is_the_reason(what, status, reason):
    """What it wrote before is there; it and its daemon are gone."""
    records = []
    with pytest.raises(Lost) as lost:
        run_fresh(write_and, what, on_record=records.append, stall_seconds=2, memory=64 * MIB)
    assert (status, reason) == (lost.value.status, str(lost.value))
    [record] = records
    assert not psutil.pid_exists(record["process"])
    assert not psutil.pid_exists(record["daemon"])


def test_who_says_that_it_lives_is_waited_for():
    """Though it finishes nothing for longer than that."""
    records = []
    run_fresh(slow, on_record=records.append, stall_seconds=3)
    assert [{"done": True}] == records


def test_what_a_record_raises_here_ends_the_process():
    """As Ctrl-C does, which arrives while it is waited for."""
    seen = []

    def interrupted(record):
        seen.append(record["process"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fresh(write_and, "hangs", on_record=interrupted, stall_seconds=60)
    assert not psutil.pid_exists(seen[0])
