"""The base of stored values, and types of their fields whose bounds are checked when they are read."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta, Struct

LARGEST_COUNT = 2**53
"""Every larger integer would lose digits in a reader whose numbers are floats, such as JavaScript's."""

Name = Annotated[str, Meta(max_length=1_000)]
Text = Annotated[str, Meta(max_length=1_000_000)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Whole = Annotated[int, Meta(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]
Amount = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]


class Stored(Struct, frozen=True, forbid_unknown_fields=True):
    """The base of every value that is written to a file: immutable, and read back equal.

    JSON has no NaN and no infinity. Such a number is refused here: a value says None, and a reason beside it says why.
    """

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{type(self).__name__}.{name} is {value}, which JSON cannot hold; use None")
