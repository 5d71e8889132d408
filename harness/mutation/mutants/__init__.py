"""Mutants: they measure the suite's power and test its judge. Each is a patch of the eager implementation's source.

Beside them stand equivalent variants, which the suite must not accuse.
"""

from __future__ import annotations

from dataclasses import replace

from attention_harness.mutation.equivalent import VARIANTS, Variant, varied
from attention_harness.mutation.mutant import Mutant, concerned, planted
from attention_harness.mutation.mutants import behaviours, score, structure, training, visibility, weighting
from attention_harness.mutation.mutants.cited import CITES
from attention_harness.mutation.restored import state_restored

_PLANTED = (
    score.MUTANTS + visibility.MUTANTS + weighting.MUTANTS + structure.MUTANTS + training.MUTANTS + behaviours.MUTANTS
)
MUTANTS: tuple[Mutant, ...] = tuple(replace(mutant, cites=CITES.get(mutant.name, mutant.cites)) for mutant in _PLANTED)

__all__ = ["MUTANTS", "VARIANTS", "Mutant", "Variant", "concerned", "planted", "state_restored", "varied"]
