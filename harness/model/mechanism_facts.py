"""What a run says of its mechanisms: formula, inputs, worked examples, errata; enough to explain them from files."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from attention_harness.model.stored import Count, Name, Stored, Text

LARGEST = 32
"""Rows, and columns, of a matrix that is shown with its numbers."""

Row = Annotated[tuple[float | None, ...], Meta(max_length=LARGEST)]


class ErratumFacts(Stored, frozen=True):
    """A disagreement within the notes: what they say, what is right, and the test that shows it."""

    source: Text
    says: Text
    right: Text
    shown_by: Text


class InputFacts(Stored, frozen=True):
    """A tensor that a mechanism takes. symbol: what the formula calls it, in LaTeX; axes: letters, "B H Lq D"."""

    name: Name
    symbol: Name
    axes: Name
    meaning: Text
    learned: bool = False


class Matrix(Stored, frozen=True):
    """Numbers in rows and columns; None where there is none, such as the score of a hidden key.

    label  which part of a tensor it is, such as "batch 1"; "" for a whole one
    """

    label: Name
    rows: Annotated[tuple[Row, ...], Meta(max_length=LARGEST)]

    def __post_init__(self) -> None:
        if len({len(row) for row in self.rows}) > 1:
            raise ValueError(f"the rows of a matrix {self.label} have different lengths")
        if not all(value is None or math.isfinite(value) for row in self.rows for value in row):
            raise ValueError("a matrix holds a number that is not finite; use None")


class Numbers(Stored, frozen=True):
    """A tensor of an example. matrices: its last two axes, one for each place of the others; none if it is large."""

    shape: Annotated[tuple[Count, ...], Meta(max_length=8)]
    matrices: Annotated[tuple[Matrix, ...], Meta(max_length=12)] = ()


class Given(Stored, frozen=True):
    """An input of an example."""

    name: Name
    symbol: Name
    numbers: Numbers


class Step(Stored, frozen=True):
    """A step of an example.

    name      "projection", "scores", "weights" or "output"
    formula   of the step, in LaTeX
    computed  what the float64 reference gives
    expected  what the notes expect; None where they state no number
    """

    name: Name
    formula: Text
    computed: Numbers
    expected: Numbers | None = None


class WorkedExample(Stored, frozen=True):
    """A formula with numbers put in.

    of_notes  whether the notes work it; else it is ours
    source    where in the notes, or what ours is made of
    options   such as "valid_lens = [2, 6]"
    digits    decimals to which the notes print what is expected
    remark    why the expected numbers and the computed ones differ
    """

    name: Name
    of_notes: bool
    source: Text
    given: Annotated[tuple[Given, ...], Meta(max_length=20)]
    steps: Annotated[tuple[Step, ...], Meta(max_length=20)]
    options: Text = ""
    digits: Count = 12
    remark: Text = ""


class MechanismFacts(Stored, frozen=True):
    """A formula that the run concerns, as its reference describes it. formula: LaTeX without the dollars.

    kind           which question it answers: scores, softmax, layers, positions, beyond
    notice         what to see in its weights
    specification  shapes, edge rules and sources in words
    output         axes of the output; weights: of the weights, "" where there are none
    """

    summary: Text = ""
    formula: Text = ""
    source: Text = ""
    errata: Annotated[tuple[ErratumFacts, ...], Meta(max_length=1000)] = ()
    kind: Name = ""
    specification: Text = ""
    inputs: Annotated[tuple[InputFacts, ...], Meta(max_length=100)] = ()
    output: Name = ""
    weights: Name = ""
    notice: Text = ""
    examples: Annotated[tuple[WorkedExample, ...], Meta(max_length=100)] = ()
