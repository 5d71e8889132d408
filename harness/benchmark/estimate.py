"""How long a campaign will take, from its plan and a short calibration: told before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_harness.benchmark import gate, timing
from attention_harness.benchmark.ceilings import Ceilings, measure
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.costs import cost
from attention_harness.commands import console
from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item
from attention_harness.registry import Implementation

REACHED = 0.2  # a call is taken to reach this part of the ceiling that binds
PREPARING = 0.25  # seconds for an arm: prepare, first call, warm-up, with compiled code found on disk
_LOOK_S = 120.0  # the look at the machine takes so long at most


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a short look found.

    begin_s    to start a process and import torch; NaN where the look at the machine gave no answer
    item_s     to ask a small item of each implementation: what it compiles or exports is in it
    element_s  for each further element of the scores
    ceilings   of this machine
    """

    begin_s: float
    item_s: Mapping[str, float]
    element_s: float
    ceilings: Ceilings


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds that the gate and each pass will take; NaN: not known."""

    gate_s: float
    pass_s: float
    passes: int
    extended: bool

    @property
    def seconds(self) -> float:
        """The whole, without an extension."""
        return self.gate_s + self.passes * self.pass_s

    def told(self) -> str:
        """Return the line that a person reads before it starts."""
        if math.isnan(self.seconds):
            return f"duration not known; {self.passes} passes"
        further = "; as many passes again for cells that stay inconclusive" if self.extended else ""
        return (
            f"expected: about {duration(self.seconds)}: {duration(self.gate_s)} to check what is timed, then "
            f"{self.passes} passes of {duration(self.pass_s)}{further}"
        )


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def calibrate(items: Sequence[Item], answers: gate.Gate, load: Sequence[Path], memory: int = 0) -> Calibration:
    """Ask two items of each implementation and a larger one - their verdicts count - and look at the machine.

    The second of two tells what an item takes: the first one also starts a compiler, once.
    """
    began = time.perf_counter()
    try:
        rates, inside = pool.run_alone(_rates, seconds=_LOOK_S)
    except Lost as lost:  # nothing rests on it but the time that is told
        console.line(f"bench: the look at this machine gave no answer: {lost}")
        rates, inside = Ceilings([]), math.nan
    begin_s = time.perf_counter() - began - inside
    asked = sorted((item for item in items if item.skip is None), key=_elements)
    by_name: dict[str, list[Item]] = {}
    for item in asked:
        by_name.setdefault(item.implementation.name, []).append(item)
    small = {name: own[len(own) // 3 :][:2] for name, own in by_name.items()}
    large = asked[: 9 * len(asked) // 10][-1:]
    looked = {(item.implementation.name, item.case.id): item for own in (*small.values(), large) for item in own}
    for _ in gate.run(list(looked.values()), answers, load, jobs=1, memory=memory):
        pass
    item_s = {name: _seconds(own[-1], answers) for name, own in small.items()}
    growth = [(_seconds(item, answers) - item_s[item.implementation.name]) / max(_elements(item), 1) for item in large]
    return Calibration(begin_s, item_s, max([0.0, *growth]), rates)


def _seconds(item: Item, answers: gate.Gate) -> float:
    return answers.seconds(item.implementation.name, item.case)


def _rates() -> tuple[Ceilings, float]:
    """Return this machine's ceilings for float32, and how long they took; run in a worker."""
    began = time.perf_counter()
    return Ceilings(measure(("float32",), 1)), time.perf_counter() - began


def _elements(item: Item) -> float:
    return cost(item.case).softmax


def expected(
    cells: Sequence[Cell],
    entrants: Sequence[Implementation],
    items: Sequence[Item],
    seen: Calibration,
    **method: Any,
) -> Estimate:
    """Return what a plan will take. method: passes, time_per_arm, extend."""
    asked = [item for item in items if item.skip is None]
    gate_s = sum(seen.item_s[item.implementation.name] + seen.element_s * _elements(item) for item in asked)
    pass_s = seen.begin_s * len({cell.threads for cell in cells})
    for cell in cells:
        arms = 1 + sum(not entrant.refuses(cell.case) and not entrant.unavailable() for entrant in entrants)
        bound = seen.ceilings.binding(cost(cell.case, cell.direction), "float32", 1, "wall")
        call_s = (bound[1] if bound else 0.0) / REACHED
        pass_s += arms * (PREPARING + max(method["time_per_arm"], timing.ROUNDS * call_s))
    jobs = pool.default_jobs()
    return Estimate(seen.begin_s + gate_s / jobs, pass_s, method["passes"], method["extend"])
