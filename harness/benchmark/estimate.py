"""How long a campaign will take, from its plan and a short calibration: said before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_harness.benchmark import ceilings, gate
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.cell import Cell
from attention_harness.benchmark.costs import cost
from attention_harness.benchmark.roofline import Ceilings
from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item
from attention_harness.model import units

REACHED = 0.2  # a call is taken to reach this part of the ceiling that binds
PREPARING_S = 0.25  # for an arm: prepare, first call, warm-up, with compiled code found on disk
_CALIBRATION_S = 120.0  # the ceilings take so long at most
_DTYPE = "float32"  # which every mechanism is benchmarked in


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a short look at the machine found.

    begin_s    to start a process and import torch; NaN where the look gave no answer, and `note` says why
    item_s     to check a small item of each implementation: what it compiles or exports is in it
    element_s  for each further element of the scores
    ceilings   of this machine
    """

    begin_s: float
    item_s: Mapping[str, float]
    element_s: float
    ceilings: Ceilings
    note: str = ""


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

    def sentence(self) -> str:
        """Return what a person reads before it starts."""
        if math.isnan(self.seconds):
            return f"duration not known; {self.passes} passes"
        further = "; as many passes again for cells that stay inconclusive" if self.extended else ""
        return (
            f"expected: about {units.duration(self.seconds)}: {units.duration(self.gate_s)} to check what is timed, "
            f"then {self.passes} passes of {units.duration(self.pass_s)}{further}"
        )


def calibrate(items: Iterable[Item], verdicts: gate.Gate, load: Sequence[Path], memory: int = 0) -> Calibration:
    """Check two items of each implementation and a larger one - their verdicts count - and measure the ceilings.

    The second of two shows what an item takes: the first one also starts a compiler, once.
    """
    began, note = time.perf_counter(), ""
    try:
        rates, inside = pool.run_alone(_ceilings, seconds=_CALIBRATION_S)
    except Lost as lost:  # nothing rests on it but the time that is said
        rates, inside, note = Ceilings([]), math.nan, f"the look at this machine gave no answer: {lost}"
    begin_s = time.perf_counter() - began - inside
    by_size = sorted((item for item in items if item.skip is None), key=_elements)
    by_name: dict[str, list[Item]] = {}
    for item in by_size:
        by_name.setdefault(item.implementation.name, []).append(item)
    small = {name: found[len(found) // 3 :][:2] for name, found in by_name.items()}
    large = by_size[: 9 * len(by_size) // 10][-1:]
    first = {(one.implementation.name, one.case.id): one for found in (*small.values(), large) for one in found}
    for _ in gate.check(list(first.values()), verdicts, load, jobs=1, memory=memory):
        pass

    def seconds(item: Item) -> float:
        return verdicts.seconds(item.implementation.name, item.case)

    item_s = {name: seconds(found[-1]) for name, found in small.items()}
    growth = [(seconds(item) - item_s[item.implementation.name]) / max(_elements(item), 1) for item in large]
    return Calibration(begin_s, item_s, max([0.0, *growth]), rates, note)


def _ceilings() -> tuple[Ceilings, float]:
    """Return this machine's ceilings for one dtype, and how long they took; run in a worker."""
    began = time.perf_counter()
    return Ceilings(ceilings.measure((_DTYPE,), threads=1)), time.perf_counter() - began


def _elements(item: Item) -> float:
    return cost(item.case).softmax


def expected(campaign: Campaign, cells: Sequence[Cell], items: Iterable[Item], seen: Calibration) -> Estimate:
    """Return what a campaign will take."""
    checked = [item for item in items if item.skip is None]
    gate_s = sum(seen.item_s[item.implementation.name] + seen.element_s * _elements(item) for item in checked)
    pass_s = seen.begin_s * len({cell.threads for cell in cells})
    for cell in cells:
        arms = 1 + sum(not one.refuses(cell.case) and not one.unavailable() for one in campaign.implementations)
        bound = seen.ceilings.binding(cost(cell.case, cell.direction), _DTYPE, 1, "wall")
        call_s = (bound[1] if bound else 0.0) / REACHED
        pass_s += arms * (PREPARING_S + max(campaign.time_per_arm_s, campaign.rounds * call_s))
    return Estimate(seen.begin_s + gate_s / pool.default_jobs(), pass_s, campaign.passes, campaign.extend)
