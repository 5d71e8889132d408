"""How near calls come to what this machine can do: arithmetic intensity, attained rates, and the ceilings. Pure.

The ceiling of a row was measured in the same rounds. A row holds the share of it that was reached, so the ceiling is
the attained rate over that share: at the intensity of this cell, in operations a second, whatever binds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from attention_harness.model.measurement import Measurement
from attention_harness.report import words
from attention_harness.report.content.growth import seconds

PRODUCT = "matrix product"
COPY = "copy in "
"""Begins the ceiling of copies, in bytes a second; the memory that holds them follows."""

HEADER = ("ceiling", "cells", "median", "lowest to highest")
"""What the `row` of a roof holds."""


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the plane. intensity: operations a byte; rate: operations a second; ceiling: the rate of share 1."""

    row: Measurement
    intensity: float
    rate: float
    ceiling: float | None


@dataclass(frozen=True, slots=True)
class Roof:
    """A ceiling as its cells found it. median, low, high: operations a second, or bytes a second of copies."""

    kind: str
    cells: int
    median: float
    low: float
    high: float

    @property
    def slanted(self) -> bool:
        """It limits bytes a second: in the plane it rises with the intensity."""
        return self.kind.startswith(COPY)

    @property
    def row(self) -> tuple[str, ...]:
        """What `HEADER` names."""
        unit = "B/s" if self.slanted else "FLOP/s"
        median, low, high = (f"{words.quantity(value)}{unit}" for value in (self.median, self.low, self.high))
        return self.kind, words.number(self.cells), median, f"{low} to {high}"


@dataclass(frozen=True, slots=True)
class Roofline:
    """The rows of one dtype and number of threads on one device, and the ceilings that bound them."""

    title: str
    points: tuple[Point, ...]
    roofs: tuple[Roof, ...]


def rooflines(rows: Sequence[Measurement]) -> tuple[Roofline, ...]:
    """Return a roofline for each dtype, number of threads and device that has a row with counts."""
    kinds: dict[str, list[Point]] = {}
    for row in rows:
        point = _point(row)
        if point is not None:
            device = row.case.partition("@")[2]
            title = ", ".join(filter(None, (row.dtype, words.counted(row.threads, "thread"), device)))
            kinds.setdefault(title, []).append(point)
    return tuple(Roofline(title, tuple(points), roofs(points)) for title, points in kinds.items())


def roofs(points: Sequence[Point]) -> tuple[Roof, ...]:
    """Return the ceilings of matrix products and of copies, each over its cells; a cell counts by its median."""
    found: dict[str, dict[tuple[str, str, str, int], list[float]]] = {}
    for point in points:
        kind, ceiling = point.row.ceiling, point.ceiling
        if ceiling is not None and (kind == PRODUCT or kind.startswith(COPY)):
            limit = ceiling if kind == PRODUCT else ceiling / point.intensity
            found.setdefault(kind, {}).setdefault(point.row.cell, []).append(limit)
    return tuple(_roof(kind, [statistics.median(cell) for cell in found[kind].values()]) for kind in sorted(found))


def _roof(kind: str, cells: Sequence[float]) -> Roof:
    return Roof(kind, len(cells), statistics.median(cells), min(cells), max(cells))


def _point(row: Measurement) -> Point | None:
    """Return where a row stands, None where it was not measured or its work was not counted."""
    if row.status != "measured" or not row.flops or not row.moved_bytes:
        return None
    intensity, attained = row.flops / row.moved_bytes, row.flops / seconds(row)
    if not (_plain(intensity) and _plain(attained)):
        return None
    ceiling = attained / row.ceiling_share if row.ceiling_share and row.ceiling else 0.0
    return Point(row, intensity, attained, ceiling if _plain(ceiling) and _plain(ceiling / intensity) else None)


def _plain(value: float) -> bool:
    """Whether a quotient of what a run states is a number that has a place on a logarithmic axis."""
    return 0 < value < math.inf
