"""Planted faults: they measure the suite's power and test its judge. Each is a patch of the eager implementation's source.

Beside them stand correct variants, which the suite must not accuse.
"""

from __future__ import annotations

from dataclasses import replace

from attention_harness.mutation.equivalent import VARIANTS, Variant, varied
from attention_harness.mutation.mutant import Fault, concerned, planted
from attention_harness.mutation.mutants import behaviours, score, structure, training, visibility, weighting
from attention_harness.mutation.mutants.cited import CITES
from attention_harness.mutation.restored import state_restored

_PLANTED = score.FAULTS + visibility.FAULTS + weighting.FAULTS + structure.FAULTS + training.FAULTS + behaviours.FAULTS
FAULTS: tuple[Fault, ...] = tuple(replace(fault, cites=CITES.get(fault.name, fault.cites)) for fault in _PLANTED)

__all__ = ["FAULTS", "VARIANTS", "Fault", "Variant", "concerned", "planted", "state_restored", "varied"]
