"""Where the errors of a failing case lie, as a run directory keeps it."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from attention_harness.model.stored import Amount, Name, Positive, Stored, Text

ROWS, COLUMNS = 24, 72
"""Cells that a map has at most; more rows or columns stand in blocks."""


class ErrorMap(Stored, frozen=True):
    """Error ratios of one matrix of an output or of weights, the largest of each block.

    title                   which matrix, such as "output at batch 0, head 2"
    rows, columns           what they are; rows_each, columns_each: how many make one block
    values                  None where the error is not finite, or none is allowed and there is one
    """

    implementation: Name
    case: Name
    title: Text
    rows: Name
    rows_each: Positive
    columns: Name
    columns_each: Positive
    values: Annotated[tuple[Annotated[tuple[Amount | None, ...], Meta(max_length=COLUMNS)], ...], Meta(max_length=ROWS)]

    def __post_init__(self) -> None:
        if len({len(row) for row in self.values}) > 1:
            raise ValueError(f"the rows of {self.title} have different lengths")
        if not all(value is None or math.isfinite(value) for row in self.values for value in row):
            raise ValueError(f"{self.title} holds a number that is not finite; use None")
