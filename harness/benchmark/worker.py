"""The process of a pass: prepares every arm of every cell, then times the cells. The other end is `manager`.

Every record is written as soon as it is known, and what is begun is written before it begins: when the process dies,
the records show what was lost and who caused it, and another process goes on without the culprit.
"""

from __future__ import annotations

import gc
import math
import os
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from msgspec import Struct

from attention_harness import registry
from attention_harness.benchmark import ceilings, noise, spot_check, timing, timing_cuda, timing_host
from attention_harness.benchmark.arms import AA_CONTROL, Arm, Problem
from attention_harness.cases.ids import parse
from attention_harness.execution.fresh import Channel
from attention_harness.model.errors import describe
from attention_harness.model.pass_records import Begun, Ended, Failed, MachineRead, Record, Sampled


class CellPlan(Struct, frozen=True):
    """A cell by the name that it has in the records, and its arms by theirs."""

    cell: str
    case: str
    direction: str
    arms: tuple[str, ...]


class PassPlan(Struct, frozen=True, kw_only=True):
    """One pass over the cells, in a fresh process.

    number, threads   which pass it is, and the threads of one call
    seed              of the order of cells and calls
    time_per_arm_s    of each cell, at least; rounds: as many, at least
    load              files of implementations
    memory            bytes that the process may take
    ceilings          whether each cell on the CPU has an arm that measures its ceiling
    peak              whether the arms' memory is read
    spot_check        whether their answers are judged after the timing
    """

    number: int
    threads: int
    seed: str
    cells: tuple[CellPlan, ...]
    time_per_arm_s: float
    rounds: int
    load: tuple[Path, ...] = ()
    memory: int
    ceilings: bool = False
    peak: bool = False
    spot_check: bool = False


def carry_out(channel: Channel, plan: PassPlan) -> None:
    """Carry out the plan of a pass; its records go through the channel."""
    _Pass(plan, channel.write, channel.alive).run()


class _Pass:
    """A pass under way. write: gets each record; beat: is called after every round"""

    def __init__(self, plan: PassPlan, write: Callable[[Record], None], beat: Callable[[], None]) -> None:
        self.plan, self.write, self.beat = plan, write, beat
        self.which: dict[str, Any] = {"number": plan.number, "threads": plan.threads}
        self.rng = random.Random(plan.seed)

    def run(self) -> None:
        """Prepare every arm of every cell in the plan's order, then time the cells in a random one."""
        plan = self.plan
        pinned = timing_host.pin_allocator()  # before torch allocates
        # Blocks of memory that stay, so that addresses differ from process to process.
        self.blocks = [bytearray(self.rng.randrange(1, 1 << 16)) for _ in range(self.rng.randrange(64))]
        import torch

        torch.set_num_threads(plan.threads)
        timing_cuda.bind()
        self.implementations = registry.implementations(plan.load)
        about: dict[str, Any] = {"process": os.getpid(), "allocator_pinned": pinned}
        self._read_machine("start", about)
        self._survey()
        # In the same order in each pass: what torch.compile makes of a case depends on the cases before it, and only
        # the same sequence finds its compiled code on disk (measured: 10 s instead of 35 s for 17 cells).
        cells = [(cell, self._prepare(cell)) for cell in plan.cells]
        gc.collect()
        gc.freeze()  # or every cell's collection would visit all that torch and its compiler hold
        self.rng.shuffle(cells)
        for cell, arms in cells:
            self._time(cell, arms)
        self._read_machine("end", about)

    def _read_machine(self, when: Any, about: dict[str, Any]) -> None:
        self.write(MachineRead(**self.which, **about, when=when, **noise.reading()))

    def _survey(self) -> None:
        """Look for what may bind each cell that runs on the CPU, before anything of an implementation is there."""
        self.binding: dict[str, list[ceilings.Look] | str] = {}
        if not self.plan.ceilings:
            return
        survey = ceilings.Survey(self.plan.threads)
        for cell in self.plan.cells:
            if parse(cell.case).device == "cpu":
                self.binding[cell.cell] = survey.binding(cell.case, cell.direction)
                self.beat()
        for ceiling in survey.records(self.which):
            self.write(ceiling)

    def _prepare(self, cell: CellPlan) -> dict[str, Arm]:
        """Return the arms of a cell, prepared and called once. One that raised is left out and on record."""
        arms: dict[str, Arm] = {}
        problem = Problem(parse(cell.case), cell.direction)
        for name in cell.arms:
            self.write(Begun(**self.which, cell=cell.cell, arm=name))
            try:
                arms[name] = Arm(self.implementations[name.removesuffix(AA_CONTROL)], problem)
            except Exception as error:  # whatever it raises is its answer
                self.write(Failed(**self.which, cell=cell.cell, arm=name, reason=describe(error)))
        return arms

    def _time(self, cell: CellPlan, arms: dict[str, Arm]) -> None:
        """Warm the arms, time them in rounds, and write a record for each."""
        began = perf_counter()
        self.write(Begun(**self.which, cell=cell.cell, arm=""))
        for arm in arms.values():
            arm.warm()
            self.beat()
        ceiling = ceilings.CeilingArm(self.binding[cell.cell]) if arms and cell.cell in self.binding else None
        effort: dict[str, Any] = {"time_per_arm": self.plan.time_per_arm_s, "rng": self.rng, "beat": self.beat}
        every: dict[str, timing.Timed] = {**arms, **({ceilings.CEILING: ceiling} if ceiling else {})}
        samples = timing.rounds(every, least=self.plan.rounds, **effort)
        for record in ceiling.records(self.which, cell.cell) if ceiling else ():
            self.write(record)
        on_device = {} if parse(cell.case).device == "cpu" else _on_device(arms, effort)
        for name, arm in arms.items():
            if doubt := self._doubt(arm):
                self.write(Failed(**self.which, cell=cell.cell, arm=name, reason=doubt, wrong=True))
                continue
            sampled = Sampled(
                **self.which,
                cell=cell.cell,
                arm=name,
                prepare_s=arm.prepare_s,
                first_call_s=arm.first_call_s,
                calls=arm.warmed.calls,
                one_thread=arm.warmed.one_thread,
                waits=arm.warmed.waits,
                peak_bytes=arm.peak_bytes() if self.plan.peak else None,
                **_columns(samples[name]),
                **on_device.get(name, {}),
            )
            self.write(sampled)
        self.write(Ended(**self.which, cell=cell.cell, clock_s=round(perf_counter() - began, 6)))

    def _doubt(self, arm: Arm) -> str:
        """Return why an arm's times are none, or ""; in the passes that the plan says."""
        if not self.plan.spot_check:
            return ""
        self.beat()
        try:
            return spot_check.why_not_timed(arm)
        except Exception as error:
            return f"after it was timed: {describe(error)}"


def _on_device(arms: dict[str, Arm], effort: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each arm's cold times, from rounds of their own, the device's clock, and whether it asked for memory.

    The allocator is warm: what it still asks the device for during these rounds would be part of a time.
    """
    before = timing_cuda.allocations()
    cold = timing.rounds(arms, take=Arm.cold_sample, **effort)
    allocated, clock = timing_cuda.allocations() != before, timing_cuda.clock_mhz()
    return {
        name: {"cold_s": tuple(sample.wall_s for sample in samples), "device_mhz": clock, "allocated": allocated}
        for name, samples in cold.items()
    }


def _columns(samples: Sequence[timing.Sample]) -> dict[str, Any]:
    on_host = not math.isnan(samples[0].cpu_s)
    return {
        "faults": statistics.median(sample.faults for sample in samples),
        "wall_s": tuple(round(sample.wall_s, 12) for sample in samples),
        "cpu_s": tuple(round(sample.cpu_s, 12) for sample in samples) if on_host else (),
        "cut": tuple(place for place, sample in enumerate(samples) if sample.cut),
    }
