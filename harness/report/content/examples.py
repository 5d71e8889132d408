"""How a worked example is told: its numbers as text, their shade, and where the notes' numbers and ours differ."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attention_harness.model.mechanism_facts import Matrix, Numbers, Step, WorkedExample

HIDDEN = "–"
"""What stands for the score of a hidden key, and for every number that is none."""

SHADES = 10
"""Steps from a weight of 0 to a weight of 1."""

GLANCE = 40
"""Numbers of a tensor that stand open."""

_NAMES = {"projection": "Project", "scores": "Compare: scores", "weights": "Softmax: weights", "output": "Sum: output"}
_ROUNDING = 1e-11  # relative; stored numbers have 12 digits


def title(step: Step, example: WorkedExample) -> str:
    """Return what a step does, in words; without weights there is no sum."""
    if step.name == "output" and not any(one.name == "weights" for one in example.steps):
        return "Output"
    return _NAMES.get(step.name, step.name)


def number(value: float | None, whole: bool = False) -> str:
    """Return a number with four decimals, or as many as tell it from an integer, or all that are stored."""
    if value is None:
        return HIDDEN
    if whole or value == 0:
        text = f"{value:.12g}"
    elif abs(value) < 0.001 or abs(value) >= 1e7:
        text = f"{value:.3e}"
    else:
        text = f"{value:.4f}"
        if float(text).is_integer() and value != float(text):  # 0.999997 is not 1
            text = f"{value:.7f}"
        text = text.rstrip("0").rstrip(".")
    mantissa, _, exponent = text.replace("-", "\N{MINUS SIGN}").partition("e")
    if not exponent:
        return mantissa
    sign, digits = exponent[0], exponent[1:].lstrip("0") or "0"
    return f"{mantissa}e{sign if sign != '+' else ''}{digits}"


def shade(value: float | None) -> str:
    """Return the class of a weight's cell, from w0 to w10; "" where it is no weight between 0 and 1."""
    if value is None or not 0 <= value <= 1:
        return ""
    return f"w{round(SHADES * value)}"


def size(numbers: Numbers) -> str:
    """Return a shape as 2 × 3."""
    return " × ".join(map(str, numbers.shape)) or "one number"


def large(numbers: Numbers) -> bool:
    """Return whether a tensor has more numbers than are read at a glance."""
    return sum(len(row) for matrix in numbers.matrices for row in matrix.rows) > GLANCE


def beside(step: Step) -> Iterator[tuple[Matrix, Matrix | None]]:
    """Yield each matrix of a step, and the expected one beside it."""
    expected = step.expected.matrices if step.expected else ()
    for place, matrix in enumerate(step.computed.matrices):
        yield matrix, expected[place] if place < len(expected) else None


def largest_difference(step: Step) -> float:
    """Return by how much an expected number and the computed one differ at most; 0 within the stored digits."""
    found = [0.0]
    for matrix, expected in beside(step):
        pairs = zip(matrix.rows, expected.rows if expected else (), strict=False)
        for ours, theirs in ((a, b) for one, other in pairs for a, b in zip(one, other, strict=False)):
            if ours is not None and theirs is not None and abs(ours - theirs) > _ROUNDING * max(1.0, abs(theirs)):
                found.append(abs(ours - theirs))
    return max(found)


def readable(example: WorkedExample) -> bool:
    """Return whether every step of an example has its numbers."""
    return bool(example.steps) and all(step.computed.matrices for step in example.steps)


def latex(matrix: Matrix, whole: bool = False) -> str:
    """Return a matrix in LaTeX."""
    rows = (" & ".join(number(value, whole) for value in row) for row in matrix.rows)
    inside = r" \\ ".join(rows).replace("\N{MINUS SIGN}", "-").replace(HIDDEN, r"\cdot")
    inside = re.sub(r"e(-?\d+)", r" \\cdot 10^{\1}", inside)
    return rf"\begin{{pmatrix}} {inside} \end{{pmatrix}}"
