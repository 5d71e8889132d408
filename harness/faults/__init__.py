"""Planted faults: they measure the suite's power and test its judge. Each is a patch of the eager implementation's source.

Beside them stand correct variants, which the suite must not accuse.
"""

from __future__ import annotations

from dataclasses import replace

from harness.faults import manners, score, structure, training, visibility, weighting
from harness.faults.cited import CITES
from harness.faults.correct import VARIANTS, Variant, varied
from harness.faults.fault import Fault, concerned, planted
from harness.faults.process import state_restored

_PLANTED = score.FAULTS + visibility.FAULTS + weighting.FAULTS + structure.FAULTS + training.FAULTS + manners.FAULTS
FAULTS: tuple[Fault, ...] = tuple(replace(fault, cites=CITES.get(fault.name, fault.cites)) for fault in _PLANTED)

__all__ = ["FAULTS", "VARIANTS", "Fault", "Variant", "concerned", "planted", "state_restored", "varied"]
