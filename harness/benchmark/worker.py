"""One pass over the cells, in a fresh process: both ends of it. `run_pass` starts and watches; `main` measures.

Every line is written as soon as it is known, and what is begun is written before it begins: when a process dies, the
file tells what was lost and who caused it, and another process goes on without the culprit.
"""

from __future__ import annotations

import functools
import gc
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_harness import registry
from attention_harness.benchmark import backward, ceilings, noise, timing, timing_cuda
from attention_harness.cases import ids, inputs
from attention_harness.execution import limits, processes
from attention_harness.execution.lost import cause_of_death
from attention_harness.execution.output import Output, last_words
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Implementation

AA_CONTROL = "#A/A control"  # suffix of the baseline's second copy
STALL_S = 300.0  # a process that finishes nothing for so long, not even a round, is ended

Record = dict[str, Any]
Write = Callable[[Record], None]


# --- the parent's end


def run_pass(plan: Mapping[str, Any], notice: Write, stall_s: float = STALL_S) -> list[Record]:
    """Return the records of a pass; `notice` sees each as it comes. A process that dies loses the item it was at."""
    records: list[Record] = []
    remaining = list(plan["cells"])
    with tempfile.TemporaryDirectory(prefix="harness-pass-") as folder:
        while remaining:
            new, death = _one_process({**plan, "cells": remaining}, Path(folder), notice, stall_s)
            records += new
            if not death:
                break
            culprit = next((r for r in reversed(new) if r["event"] == "begin"), None)
            if culprit is None:
                raise HarnessError(f"the benchmark's process died before it measured anything: {death}")
            doing = f"while {culprit['arm']} was prepared" if culprit["arm"] else "while the cell was timed"
            records.append({**culprit, "event": "error", "reason": f"its process died {doing}: {death}"})
            notice(records[-1])
            remaining = _remaining(remaining, new, culprit)
    return records


def _remaining(cells: Sequence[Record], records: Sequence[Record], culprit: Record) -> list[Record]:
    """Return the cells that are not done, without the arm - or the whole cell - whose process died."""
    done = {record["cell"] for record in records if record["event"] == "end"}
    left = []
    for cell in cells:
        if cell["cell"] == culprit["cell"]:
            gone = {culprit["arm"], culprit["arm"] + AA_CONTROL}
            cell = {**cell, "arms": [arm for arm in cell["arms"] if arm not in gone] if culprit["arm"] else []}
        if cell["cell"] not in done and cell["arms"]:
            left.append(cell)
    return left


def _one_process(plan: Mapping[str, Any], folder: Path, notice: Write, stall_s: float) -> tuple[list[Record], str]:
    """Return what one process wrote, and why it died or ""."""
    plan_path, records_path = folder / "plan.json", folder / "records.jsonl"
    plan_path.write_text(json.dumps(plan))
    records_path.write_text("")
    command = [sys.executable, "-m", "attention_harness.benchmark.worker", str(plan_path), str(records_path)]
    said = Output(shown=0)
    environment = _environment(plan["threads"])
    with processes.no_process_left():
        process = subprocess.Popen(command, stdout=said.writer.fileno(), stderr=said.writer.fileno(), env=environment)
        try:
            stalled = _watch(process, records_path, notice, stall_s)
        finally:
            process.kill()
            process.wait()
    said.close()
    records = _read(records_path)
    if stalled:
        return records, f"nothing finished in {stall_s:.0f} s"
    done = {record["cell"] for record in records if record["event"] == "end"}
    whole = all(cell["cell"] in done for cell in plan["cells"])
    return records, limits.out_of_memory(_death(process.returncode, said.text, whole), plan.get("memory"))


def _watch(process: subprocess.Popen[bytes], path: Path, notice: Write, stall_s: float) -> bool:
    """Wait for the process and show each record. Return whether it had to be given up.

    It lives while the file changes: by a record, or by its time alone after a round of a long cell.
    """
    seen, touched, changed = 0, 0, time.monotonic()
    while True:
        try:
            process.wait(timeout=0.2)
            running = False
        except subprocess.TimeoutExpired:
            running = True
        if (touch := path.stat().st_mtime_ns) != touched:
            touched, changed = touch, time.monotonic()
        for record in _read(path)[seen:]:
            notice(record)
            seen += 1
        if not running or time.monotonic() - changed > stall_s:
            return running


def _read(path: Path) -> list[Record]:
    """Return the complete lines: a process that died may have left half a line."""
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _death(code: int, said: str, whole: bool) -> str:
    if code == 0 and whole:
        return ""
    if code < 0:
        return cause_of_death(code).removeprefix("its process died: ") + (
            f" ({words})" if (words := last_words(said)) else ""
        )
    last = said.strip().split("\n")[-1] if code else ""  # a process that leaves with 0 gives no reason
    return last[:500] or f"exit status {code}"


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a pass: libraries read their thread limits when they are loaded."""
    threads_of = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # torch.compile would otherwise start processes whose imports disturb what is being timed.
    threads_of["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    return {**os.environ, **threads_of}


# --- the process's end


def main(plan_path: Path, records_path: Path) -> None:
    """Prepare every arm of every cell of a plan in its order, then time the cells in a random one."""
    plan = json.loads(plan_path.read_text())
    processes.become_leader()
    pinned = timing.pin_allocator()  # before torch allocates
    rng = random.Random(plan["seed"])
    kept = timing.junk(rng)
    _use_threads(plan["threads"])
    limits.limit_memory(plan.get("memory", limits.UNLIMITED))
    found = registry.implementations([Path(path) for path in plan["load"]])
    with records_path.open("a", buffering=1) as lines:

        def write(record: Record) -> None:
            lines.write(json.dumps(record) + "\n")

        process = os.getpid()  # a pass may need several
        about = {"event": "machine", "process": process, "allocator_pinned": pinned, "junk": len(kept)}
        write({**about, "when": "start", **noise.reading()})
        write({"event": "ready"})
        if plan.get("ceilings") == "start":
            _ceilings(plan, write)
        # In the same order in each pass: what torch.compile makes of a case depends on the cases before it, and only
        # the same sequence finds its compiled code on disk (measured: 10 s instead of 35 s for 17 cells).
        cells = [Prepared(cell, found, write) for cell in plan["cells"]]
        gc.collect()
        gc.freeze()  # or every cell's collection would visit all that torch and its compiler hold
        rng.shuffle(cells)
        for cell in cells:
            cell.measure(plan, rng, write, functools.partial(os.utime, records_path))
        if plan.get("ceilings") == "end":
            _ceilings(plan, write)
        write({**about, "when": "end", **noise.reading()})


def _ceilings(plan: Mapping[str, Any], write: Write) -> None:
    """Measure what the machine can do, for the dtypes of the cells that run on the CPU."""
    on_host = [case for case in (ids.parse(cell["case"]) for cell in plan["cells"]) if case.device == "cpu"]
    for record in ceilings.measure(sorted({case.dtype for case in on_host}), plan["threads"]):
        write({"event": "ceiling", "when": plan["ceilings"], **record})


def _use_threads(threads: int) -> None:
    """Limit torch; the environment limited the other libraries before they were loaded."""
    import torch

    torch.set_num_threads(threads)


class Prepared:
    """A cell whose arms have been prepared and called once. An arm that raised is left out and on record."""

    def __init__(self, cell: Record, found: Mapping[str, Implementation], write: Write) -> None:
        self.case, self.name = ids.parse(cell["case"]), cell["cell"]
        self.tensors = inputs.tensors(self.case)
        both = None if cell["direction"] == "forward" else backward.Both(self.case, self.tensors)
        self.calls: dict[str, timing.Call] = {}
        self.costs: dict[str, Record] = {}
        for name in cell["arms"]:
            write({"event": "begin", "cell": self.name, "arm": name})
            try:
                began = time.perf_counter()
                call = found[name.removesuffix(AA_CONTROL)].prepare(self.case)
                call = both.of(call) if both else call
                prepare_s = time.perf_counter() - began
                first_call_s = timing.once(call, self.tensors, self.case.device)
            except Exception as error:  # whatever it raises is its answer
                write({"event": "error", "cell": self.name, "arm": name, "reason": _line(error)})
                continue
            self.calls[name] = call
            self.costs[name] = {"prepare_s": prepare_s, "first_call_s": first_call_s}
        write({"event": "prepared", "cell": self.name})

    def measure(
        self, plan: Mapping[str, Any], rng: random.Random, write: Write, beat: Callable[[], Any] = lambda: None
    ) -> None:
        """Warm the arms, time them in rounds, and write a record for each. beat: says that it lives."""
        case, tensors = self.case, self.tensors
        write({"event": "begin", "cell": self.name, "arm": ""})
        arms = {}
        for name, call in self.calls.items():
            arms[name] = timing.warm(call, tensors, case.device)
            beat()
        take = timing.sampler(case.device)
        effort = {"time_per_arm": plan["time_per_arm"], "least": plan["rounds"], "beat": beat}
        samples = timing.rounds(arms, tensors, rng=rng, take=take, **effort)
        further = self._on_device(arms, plan, rng, beat) if case.device != "cpu" else {}
        for name, arm in arms.items():
            call = functools.partial(arm.call, **tensors)
            peak = timing.peak_bytes(call, case.device)[0] if plan["peak"] else None
            facts = {"calls": arm.calls, "peak_bytes": peak, "one_thread": arm.one_thread, "waits": arm.waits}
            where = {"event": "samples", "cell": self.name, "arm": name}
            write({**where, **self.costs[name], **facts, **_columns(samples[name]), **further.get(name, {})})
        write({"event": "end", "cell": self.name})

    def _on_device(
        self, arms: Mapping[str, timing.Arm], plan: Mapping[str, Any], rng: random.Random, beat: Callable[[], Any]
    ) -> dict[str, Record]:
        """Return each arm's cold times, from rounds of their own, the device's clock, and whether it asked for memory.

        The allocator is warm: what it still asks the device for during these rounds would be part of a time.
        """
        single = {name: timing.Arm(arm.call, 1, False) for name, arm in arms.items()}
        before = timing_cuda.allocations()
        effort = {"time_per_arm": plan["time_per_arm"], "beat": beat}
        cold = timing.rounds(single, self.tensors, rng=rng, take=timing_cuda.Cold(), **effort)
        asked, clock = timing_cuda.allocations() != before, timing_cuda.clock_mhz()
        return {
            name: {"cold_s": [s.wall_s for s in samples], "device_mhz": clock, "allocated": asked}
            for name, samples in cold.items()
        }


def _columns(samples: Sequence[timing.Sample]) -> Record:
    on_host = not math.isnan(samples[0].cpu_s)
    return {
        "faults": statistics.median(sample.faults for sample in samples),
        "wall_s": [round(sample.wall_s, 12) for sample in samples],
        "cpu_s": [round(sample.cpu_s, 12) for sample in samples] if on_host else [],
        "cut": [place for place, sample in enumerate(samples) if sample.cut],
    }


def _line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}"[:500]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
