"""A worker's memory has a limit, which is told; what says that memory ran out is known as that."""

from __future__ import annotations

import pytest

from attention_harness.execution import limits, pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.lost import Lost
from attention_harness.host import memory
from attention_harness.model.verdict import Status

MIB = 2**20


def fill(count: int) -> int:
    """Take so many MiB, and return them."""
    return len(bytearray(count * MIB)) // MIB


def shared(count: int) -> None:
    """Take so many MiB of shared memory, and wait."""
    import mmap
    import time

    memory = mmap.mmap(-1, count * MIB)
    for _ in range(count):
        memory.write(bytes(MIB))
    time.sleep(60)


def test_what_fits_is_given_and_what_does_not_is_refused():
    """The limit is what a task may take beyond what the worker had."""
    with pool.open_worker(Limits(60, 256 * MIB)) as worker:
        assert 128 == worker.ask(fill, 128)
        with pytest.raises(MemoryError):
            worker.ask(fill, 300)
        assert 128 == worker.ask(fill, 128)


def test_no_limit():
    """`--memory none` takes what the machine has."""
    with pool.open_worker(Limits(60, memory.UNLIMITED)) as worker:
        assert 300 == worker.ask(fill, 300)


def test_shared_memory_counts():
    """The system's limit leaves it out; the harness looks itself."""
    with pool.open_worker(Limits(60, 128 * MIB)) as worker, pytest.raises(Lost) as gone:
        worker.ask(shared, 1024)
    assert (Status.CRASH, "out of memory: its processes hold more than 128 MiB, its limit") == (
        gone.value.status,
        str(gone.value),
    )


@pytest.mark.parametrize(
    "text",
    [
        "MemoryError: ",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried",
        "RuntimeError: std::bad_alloc",
        "OSError: [Errno 12] Cannot allocate memory",
        "RuntimeException: [ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation",
        "Fail: [ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 17179869184",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB",
        "_ArrayMemoryError: Unable to allocate 64.0 MiB for an array with shape (8388608,)",
    ],
)
def test_the_ways_in_which_libraries_say_it(text):
    """Each is told as the same, with the limit; what only speaks of memory is not."""
    assert f"out of memory: {text}; its limit is 4 GiB" == memory.out_of_memory(text, 2**32)
    assert f"out of memory: {text}" == memory.out_of_memory(text, memory.UNLIMITED)
    assert "ValueError: memory layout" == memory.out_of_memory("ValueError: memory layout", 2**32)


@pytest.mark.parametrize("jobs", [1, 2, 1000])
def test_the_share_of_a_worker(jobs, monkeypatch):
    """Together 80 % of the machine, and what a compiler needs at least."""
    monkeypatch.setattr(limits, "_CGROUP", limits.Path("/nowhere"))
    monkeypatch.setattr(limits, "memory_bytes", lambda: 64 * 2**30)
    assert limits.memory_per_worker(jobs) == {1: int(0.8 * 2**36), 2: int(0.4 * 2**36), 1000: 2**31}[jobs]


def test_a_container_s_limit_is_the_machine_s(monkeypatch, tmp_path):
    """The smaller of the two counts."""
    (tmp_path / "memory.max").write_text(f"{20 * 2**30}\n")
    monkeypatch.setattr(limits, "_CGROUP", tmp_path / "memory.max")
    monkeypatch.setattr(limits, "memory_bytes", lambda: 64 * 2**30)
    assert int(0.8 * 20 * 2**30) == limits.memory_per_worker(1)


@pytest.mark.parametrize("size", ["4", "-1GiB", "0GiB", "1e9GiB", "many", "", "1KiB", "nan"])
def test_a_size_that_is_none(harness, size):
    """argparse's message and status 2."""
    answer = harness("check", "eager", f"--memory={size}")
    assert (answer.status, answer.out) == (2, "")
    assert "is no size; expected" in answer.err or "is less than 1MiB; give a size such as 4GiB, or none" in answer.err
