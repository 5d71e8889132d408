"""Mutants, equivalent variants, the mutation score, sensitivity and diagnosis."""
