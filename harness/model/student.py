"""Student's distribution, and the interval of a mean: what a benchmark's answers and a report's fits both rest on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def student_probability(theta: float, df: int) -> float:
    """Return P(|T| < sqrt(df) tan(theta)) for Student's T: the finite series, exact for whole degrees of freedom.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(odd + 1, df, 2):  # the term before k: its successor carries k / (k + 1)
        total += term
        term *= cosine * cosine * k / (k + 1)
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def student_quantile(level: float, df: int) -> float:
    """Return the t with P(|T| < t) = level, by bisection on its angle."""
    if not 0 < level < 1 or df < 1:
        raise ValueError(f"level {level} must lie in (0, 1) and {df} degrees of freedom be at least 1")
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_probability(middle, df) < level else (low, middle)
    return math.sqrt(df) * math.tan(low)


def interval(values: Sequence[float], level: float) -> tuple[float, float]:
    """Return mean and half width of Student's interval; the half width of a single value is infinite."""
    if len(values) < 2:
        return values[0], math.inf
    quantile = student_quantile(level, len(values) - 1)
    return statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(len(values))
