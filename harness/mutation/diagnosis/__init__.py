"""Diagnosis: which mutant explains the failures of an implementation. The mutants are hypotheses, tried on its cases."""

from attention_harness.model.mutation_results import Match
from attention_harness.mutation.diagnosis.isolated import Diagnosis, diagnose_run
from attention_harness.mutation.diagnosis.search import diagnose

__all__ = ["Diagnosis", "Match", "diagnose", "diagnose_run"]
