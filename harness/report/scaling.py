"""How time and memory grow with the length: a line through the logarithms, and an interval for its slope. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from attention_harness.model.student import student_quantile

LENGTHS = 4  # the longest so many decide: shorter calls are made of overhead
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Growth:
    """quantity ~ length ** exponent over `lengths`; low and high: Student's interval from the residuals.

    local   the slope between each two neighbours of all lengths: where it is still small, overhead rules
    """

    exponent: float
    low: float | None
    high: float | None
    lengths: tuple[int, ...]
    local: tuple[float, ...]


def growth(values: Mapping[int, float], longest: int = LENGTHS) -> Growth | None:
    """Return the fit of log(value) on log(length) by least squares over the longest lengths; None below two lengths.

    values: length -> seconds or bytes of one call. The residuals have as many degrees of freedom as there are lengths
    but two; with two lengths there is a slope and no interval.
    """
    known = {length: value for length, value in sorted(values.items()) if value > 0 and length > 0}
    if len(known) < 2:
        return None
    every = list(known)
    local = tuple(math.log(known[b] / known[a]) / math.log(b / a) for a, b in itertools.pairwise(every))
    lengths = every[-longest:]
    x, y = [math.log(n) for n in lengths], [math.log(known[n]) for n in lengths]
    slope, intercept = statistics.linear_regression(x, y)
    freedom = len(lengths) - 2
    if freedom < 1:
        return Growth(slope, None, None, tuple(lengths), local)
    squares = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    half = student_quantile(LEVEL, freedom) * math.sqrt(squares / freedom / spread)
    return Growth(slope, slope - half, slope + half, tuple(lengths), local)
