"""Mutants, by what they get wrong: they measure the suite's power. Each is a patch of eager's source."""

from __future__ import annotations

from dataclasses import replace

from attention_harness.mutation.mutant import Mutant
from attention_harness.mutation.mutants import behaviours, pipeline, score, structure, training, visibility, weighting
from attention_harness.mutation.mutants.cited import CITES

_ALL = (
    score.MUTANTS
    + pipeline.MUTANTS
    + visibility.MUTANTS
    + weighting.MUTANTS
    + structure.MUTANTS
    + training.MUTANTS
    + behaviours.MUTANTS
)
MUTANTS: tuple[Mutant, ...] = tuple(replace(mutant, cites=CITES.get(mutant.name, mutant.cites)) for mutant in _ALL)

__all__ = ["MUTANTS", "Mutant"]
