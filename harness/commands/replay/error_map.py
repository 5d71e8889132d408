"""Where the errors of an output lie: the worst element, and maps of error ratios in characters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.checks import Subject
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.model.error_maps import COLUMNS, ROWS
from attention_harness.registry import mechanisms

LEVELS = (
    (0.5, "within half of the error bound"),
    (1.0, "within it"),
    (10.0, "up to 10 times"),
    (1e3, "up to 1000 times"),
)
MARKS = {True: " ░▒▓█", False: " .-+#"}  # in a terminal that can show them, and elsewhere

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Map:
    """Error ratios, the largest of each block. rows, columns: what they are, and how many make one block."""

    title: str
    rows: tuple[str, int]
    columns: tuple[str, int]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst element of the output or of the weights."""

    what: str
    where: tuple[int, ...]
    got: float
    expected: float
    error: float
    error_bound: float
    error_ratio: float


def picture(subject: Subject) -> tuple[Worst | None, tuple[Map, ...]]:
    """Return the worst element and its maps: of the weights where those were returned and err more, else the output."""
    known = mechanisms()[subject.case.mechanism]
    found = []
    for what, tensor, error_bound, axes in zip(
        ("output", "weights"),
        (subject.first.output, subject.first.weights),
        subject.error_bound(),
        (known.output, known.scores),
        strict=True,
    ):
        if tensor is None or error_bound is None or wrong_form(tensor, subject.case, error_bound.value.shape, what):
            continue
        error_ratio, error = _error_ratios(to_array(tensor), error_bound)
        if error_ratio.size:
            found.append((what, to_array(tensor), error_bound, axes, error_ratio, error))
    if not found:
        return None, ()
    what, got, error_bound, axes, error_ratio, error = max(found, key=lambda one: float(one[4].max()))
    where = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    numbers = (float(array[where]) for array in (got, error_bound.value, error, error_bound.bound, error_ratio))
    return Worst(what, where, *numbers), tuple(_maps(what, axes, error_ratio, where))


def _error_ratios(got: Array, error_bound: ErrorBound) -> tuple[Array, Array]:
    """Return each element's error over its bound, and the error; infinite where what is not a number differs."""
    error = np.abs(got - error_bound.value)
    error[np.isnan(got) & np.isnan(error_bound.value)] = 0.0
    error[~np.isfinite(error)] = np.inf
    with np.errstate(over="ignore"):
        error_ratio = np.divide(
            error, error_bound.bound, out=np.where(error > 0, np.inf, 0.0), where=error_bound.bound > 0
        )
    return error_ratio, error


def _maps(what: str, axes: tuple[str, ...], error_ratio: Array, where: tuple[int, ...]) -> Iterator[Map]:
    leading = error_ratio.shape[:-2]
    if math.prod(leading) > 1:
        each = error_ratio.max((-2, -1)).reshape(leading[0], -1)
        yield _blocks(f"{what}: the worst of each batch element and head", ("batch", "head"), each)
    inside = ", ".join(f"{axis} {n}" for axis, n in zip(axes[:-2], where, strict=False))
    columns = "key" if what == "weights" or axes[-1] in ("Lk", "P") else "column"
    title = f"{what}" + (f" at {inside}" if inside else "")
    yield _blocks(title, ("row" if axes[-2] != "Lq" else "query", columns), error_ratio[where[:-2]])


def _blocks(title: str, names: tuple[str, str], error_ratio: Array) -> Map:
    """Return a matrix as a map, the largest of each block where there are too many rows or columns."""
    steps = [-(-length // most) for length, most in zip(error_ratio.shape, (ROWS, COLUMNS), strict=True)]
    for axis, step in enumerate(steps):
        error_ratio = np.maximum.reduceat(error_ratio, np.arange(0, error_ratio.shape[axis], step), axis=axis)
    rows, columns = ((name, step) for name, step in zip(names, steps, strict=True))
    return Map(title, rows, columns, tuple(tuple(map(float, row)) for row in error_ratio))


def drawing(one: Map, marks: str) -> Iterator[str]:
    """Yield the lines of a map."""
    (down, high), (across, wide) = one.rows, one.columns
    size = " by ".join(f"{n} {name}" for n, name in ((high, down), (wide, across)))
    blocks = f"; a mark is {size}" if high * wide > 1 else ""
    yield f"{one.title}: {down} down, {across} across{blocks}"
    for number, row in enumerate(one.values):
        yield f"  {number * high:4} |" + "".join(_mark(error_ratio, marks) for error_ratio in row) + "|"


def _mark(error_ratio: float, marks: str) -> str:
    if not math.isfinite(error_ratio):
        return "!"
    return marks[next((n for n, (limit, _) in enumerate(LEVELS) if error_ratio <= limit), len(LEVELS))]


def legend(marks: str) -> str:
    """Return what the marks mean."""
    named = [f"'{mark}' {words}" for mark, (_, words) in zip(marks, LEVELS, strict=False)]
    return "error ratio: " + ", ".join([*named, f"'{marks[len(LEVELS)]}' more", "'!' not finite or none allowed"])
