"""Types of stored fields. Their bounds are checked when a file is read: no field is larger than a report can show."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

LARGEST_COUNT = 2**53
"""Every larger integer would lose digits in a reader whose numbers are floats, such as JavaScript's."""

Name = Annotated[str, Meta(max_length=1_000)]
Text = Annotated[str, Meta(max_length=1_000_000)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]
Amount = Annotated[float, Meta(ge=0)]
"""A number that is not negative. JSON has no NaN, no infinity: what is not finite is None, and a reason says why."""
Fraction = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
