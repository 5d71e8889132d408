"""Diagnosis: which mutant explains the failures of an implementation. Mutants are hypotheses, tried on its cases."""

from attention_harness.mutation.diagnosis.isolated import diagnose_run
from attention_harness.mutation.diagnosis.search import diagnose

__all__ = ["diagnose", "diagnose_run"]
