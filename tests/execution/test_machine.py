"""The facts of the machine: the same at a second look, and public where an implementation needs them."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

import attention_harness
from attention_harness.execution import machine


def test_two_looks_agree_in_all_but_load():
    """So that two runs on one machine can stand side by side."""
    first, second = machine.environment(), machine.environment()
    assert first.identity == second.identity
    assert (first.memory_bytes, first.threads, first.git) == (second.memory_bytes, second.threads, second.git)


def test_cores_are_those_that_this_process_may_use():
    """A process that is bound to one core has one."""
    bound = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    code = bound + "from attention_harness.execution.machine import cores; print(cores())"
    assert "1\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert len(psutil.Process().cpu_affinity()) == machine.cores()


def test_an_implementation_gets_them_by_public_names():
    """Without the cost of their module for those who do not ask."""
    assert machine.processor is attention_harness.processor
    assert machine.cuda_devices is attention_harness.cuda_devices
    code = "import sys, attention_harness; print('attention_harness.execution' in sys.modules)"
    assert "False\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
