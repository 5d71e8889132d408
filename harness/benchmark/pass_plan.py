"""What a pass is to do: written by its manager, read by its worker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct


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
    ceilings          when the machine's ceilings are measured, if at all
    peak              whether the arms' memory is read
    """

    number: int
    threads: int
    seed: str
    cells: tuple[CellPlan, ...]
    time_per_arm_s: float
    rounds: int
    load: tuple[Path, ...] = ()
    memory: int
    ceilings: Literal["", "start", "end"] = ""
    peak: bool = False
