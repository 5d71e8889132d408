"""Two copies of one attention, and a third that does further work of a known size: what the self-check compares.

All three are files of the same text, loaded like anybody's implementation, each with its own closure and memory. The
further work is a loop that does nothing, since its turns add time in steps of nanoseconds: any operator of torch costs
a twentieth of the shortest call by being called. How many turns is calibrated by the method itself on this machine: so
many that they take several times the wanted share are measured beside the plain copy, and time is theirs in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_harness import registry
from attention_harness.benchmark.campaign import Campaign, measure
from attention_harness.benchmark.schedule import Progress
from attention_harness.benchmark.workloads import Workload
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement

FIRST, SECOND, SLOWER = "first_copy", "second_copy", "slower_copy"
SHARE = 0.05  # the planted slowdown
_CLOSELY = {"passes": 5, "time_per_arm_s": 0.5}
_PROBED = 8  # times SHARE: what disturbs a measurement by a hundredth moves the plant by as much of itself
_WIDTH = 64
_TURN_S = 15e-9  # of a loop in CPython 3.11, roughly
_SHAPES = {"0.2 ms": (4, 128), "2 ms": (10, 256), "20 ms": (20, 512)}  # name -> heads and length, for one core of 2025

_SOURCE = '''\
"""{title}"""

from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",))
TURNS = {turns}  # length -> turns of a loop: the planted work


def prepare(case):
    turns, width = TURNS.get(case.sizes["Lk"], 0), case.sizes["D"]

    def plain(query, key, value):
        return (query @ key.mT / width**0.5).softmax(-1) @ value

    def slower(query, key, value):
        for _ in range(turns):
            pass
        return (query @ key.mT / width**0.5).softmax(-1) @ value

    return slower if turns else plain
'''


def workloads() -> tuple[Workload, ...]:
    """Return one workload for each call size: the plain formula."""
    return tuple(Workload(name, "the self-check's own size", _case(*shape).id) for name, shape in _SHAPES.items())


def _case(heads: int, length: int) -> Case:
    sizes = {"B": 1, "H": heads, "Hk": heads, "Lq": length, "Lk": length, "D": _WIDTH, "Dv": _WIDTH}
    return Case("scaled_dot_product", sizes)


def write(folder: Path, turns: Mapping[str, Mapping[int, int]]) -> list[Path]:
    """Write a file for each name, with the turns of its further work by length; return the paths."""
    paths = []
    for name, by_length in turns.items():
        title = "The formula, with further work." if by_length else "The formula."
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(_SOURCE.format(title=title, turns=dict(by_length)), encoding="utf-8")
    return paths


def calibrated(folder: Path, sizes: Sequence[Workload], progress: Progress) -> dict[str, int]:
    """Return, by size, the turns of further work that take SHARE of the plain call."""
    probe = {one.name: _PROBED * _guess(one) for one in sizes}
    load = write(folder, {FIRST: {}, "probe": by_length(sizes, probe)})
    rows = compared(["probe"], sizes, load, progress, seed=-1, **_CLOSELY)
    shares = {row.workload: _share(row) for row in rows if row.implementation == "probe"}
    return {size: scaled(turns, shares[size]) for size, turns in probe.items()}


def by_length(sizes: Sequence[Workload], turns: Mapping[str, int]) -> dict[int, int]:
    """Return turns by the length that a call of each size has."""
    return {Case.from_id(one.case).sizes["Lk"]: turns[one.name] for one in sizes}


def _guess(one: Workload) -> int:
    """Return the turns that take about SHARE of a call of the size that the workload is named after."""
    milliseconds = float(one.name.removesuffix(" ms"))
    return max(1, round(SHARE * milliseconds * 1e-3 / _TURN_S))


def _share(row: Measurement) -> float:
    if row.ratio is None:
        raise HarnessError(f"self-check: the plant could not be calibrated on {row.case}: {row.reason}")
    return row.ratio - 1


def scaled(turns: int, share: float, wanted: float = SHARE) -> int:
    """Return the turns for a wanted share, where so many take this one."""
    if not wanted < share < math.inf:
        raise HarnessError(
            f"self-check: {turns} turns of a loop measured {share:+.1%} and not several times {wanted:.0%}: "
            "this machine is too disturbed to plant a slowdown of known size; try again when it is quieter"
        )
    return max(1, round(turns * wanted / share))


def compared(
    names: Iterable[str], sizes: Sequence[Workload], load: Sequence[Path], progress: Progress, **effort: Any
) -> list[Measurement]:
    """Return the measurements of copies beside the first one. effort: fields of the campaign"""
    known = registry.implementations(load)
    campaign = Campaign(
        implementations=tuple(known[name] for name in (FIRST, *names)),
        workloads=tuple(sizes),
        baseline=FIRST,
        load=tuple(load),
        **effort,
    )
    # It is our own text, whose numbers are not in question.
    return list(measure(campaign, lambda implementation, case, direction: "", progress))
