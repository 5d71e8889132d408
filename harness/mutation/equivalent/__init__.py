"""Equivalent variants: correct attentions that compute in other ways. The suite must accuse none of them."""

from __future__ import annotations

from attention_harness.mutation.equivalent import (
    fully_masked_rows,
    scores,
    softmax,
    surroundings,
    visibility,
    weighted_sum,
)
from attention_harness.mutation.equivalent.variant import EquivalentVariant

VARIANTS: tuple[EquivalentVariant, ...] = (
    scores.VARIANTS
    + visibility.VARIANTS
    + softmax.VARIANTS
    + weighted_sum.VARIANTS
    + surroundings.VARIANTS
    + fully_masked_rows.VARIANTS
)

__all__ = ["VARIANTS", "EquivalentVariant"]
