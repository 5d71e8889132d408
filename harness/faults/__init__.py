"""Planted faults: they measure the suite's power and test its judge. Each is a patch of the eager implementation's source."""

from __future__ import annotations

from harness.faults import manners, score, structure, visibility, weighting
from harness.faults.fault import Fault, planted

FAULTS: tuple[Fault, ...] = score.FAULTS + visibility.FAULTS + weighting.FAULTS + structure.FAULTS + manners.FAULTS

__all__ = ["FAULTS", "Fault", "planted"]
