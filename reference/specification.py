"""The words in which a mechanism is declared. Inputs, cases, documents and reports are derived from these."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.options import Group, capabilities
from attention_harness.reference.algebra import Algebra
from attention_harness.reference.scalars import Scalars

SCORED = capabilities(Group.SCORES)
"""The options that every mechanism with scores takes."""

VISIBILITY = capabilities(Group.SCORES, Group.PAIRS)
"""What every mechanism takes whose scores pair the positions of two sequences."""

BY_HEAD = capabilities(Group.HEADS)
"""What every mechanism takes besides whose scores have heads."""

ATTENTION = capabilities(Group.SCORES, Group.PAIRS, Group.SUMS)
"""What every mechanism takes that also sums values by weights."""


SYMBOLS = {"query": "Q", "key": "K", "value": "V", "sequence": "X", "scores": "S"}
"""What formulas call the tensors whose names are words, in LaTeX; other names are symbols already, such as W_q."""

KINDS = ("scores", "softmax", "layers", "positions", "beyond")
"""How queries and keys are compared, weights from scores, layers around them, positions, what is beyond the notes."""

WEIGHTS = r"P = \operatorname{softmax}(S)"
SUM = r"O = P\, V"
"""The last two steps of most mechanisms."""


@dataclass(frozen=True, slots=True)
class Input:
    """A named tensor. `axes` are letters shared between the inputs of a mechanism: equal letter, equal length.

    symbol  what the formula calls it, in LaTeX
    """

    name: str
    axes: tuple[str, ...]
    meaning: str
    parameter: bool = False
    short: bool = False
    symbol: str = ""


def tensor(name: str, axes: str, meaning: str, *, short: bool = False, symbol: str = "") -> Input:
    """Declare a tensor that comes with every call. short: its vectors are drawn shorter than 1."""
    return Input(name, tuple(axes.split()), meaning, short=short, symbol=symbol or SYMBOLS.get(name, name))


def parameter(name: str, axes: str, meaning: str, *, symbol: str = "") -> Input:
    """Declare a learned tensor."""
    return Input(name, tuple(axes.split()), meaning, parameter=True, symbol=symbol or name)


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example of the notes: inputs, options, and what the note says must come out.

    output, weights   expected numbers, or None where the note states shapes alone
    scores            expected numbers before the softmax, or None
    shapes            expected shapes, by "output" and "weights"
    digits            decimals to which the note prints its numbers: the only slack an example has
    remark            why these and the exact ones differ, as a sentence
    """

    name: str
    source: str
    inputs: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    weights: Any = None
    scores: Any = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    digits: int = 12
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Erratum:
    """Where the notes' text, code and numbers disagree: what they say, what is right, and the test that shows it."""

    source: str
    says: str
    right: str
    shown_by: str


@dataclass(frozen=True, slots=True)
class Work:
    """What a forward call has to compute, counted from the formula.

    pairs        operations of matrix products over the visible pairs of query and key; a multiplication and its
                 addition are 2
    projections  operations of matrix products over single positions
    tanh         elements that go through tanh; other arithmetic on elements is not counted
    """

    pairs: float = 0
    projections: float = 0
    tanh: float = 0


def product_and_sum(sizes: Mapping[str, int], pairs: int) -> Work:
    """Return the work of scores that are products over D, and of a weighted sum of Dv values."""
    return Work(2 * pairs * (sizes["D"] + sizes["Dv"]))


@dataclass(frozen=True)
class Mechanism:
    """One formula, of the notes or beyond them with its source.

    evaluate   float64 arrays by name, and options, to (output, weights or None)
    exact      the same formula on `Scalars`, to tables of 50 digits: (output, weights or None)
    work       (sizes, visible pairs of query and key in all batches and heads) -> what a forward call computes
    inputs     its tensors, in call order
    output     axes of the output
    scores     axes of the scores and weights; empty for an operator without any
    kind       which question it answers: a name of `KINDS`
    features   the axis that each pair of query and key has before it is summed to a score; "" where none is formed
    options    which of the harness's options it takes
    choices    variants of the formula: option -> values, every case names one
    settings   keyword of `evaluate` -> the size axis that holds it, e.g. {"heads": "H"}
    requires   (axis, axis) pairs in which the first length is a multiple of the second
    steps      what the formula computes on the way, in LaTeX: each `linear` and the scores of each softmax in their
               order, then the weights, if there are any, and the output; "" is not shown
    letters    size letters that no other mechanism has: letter -> (the letter whose length it follows, how much longer)
    algebra    what the formula promises, for checks that need no oracle
    """

    name: str
    evaluate: Callable[..., tuple[Any, Any]]
    exact: Callable[[Scalars], tuple[Any, Any]]
    work: Callable[[Mapping[str, int], int], Work]
    inputs: tuple[Input, ...]
    output: tuple[str, ...]
    scores: tuple[str, ...]
    kind: str
    source: str
    features: str = ""
    options: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[tuple[str, str], ...] = ()
    letters: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    algebra: Algebra = field(default_factory=Algebra)
    examples: tuple[Example, ...] = ()
    errata: tuple[Erratum, ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """Every size letter, in order of first use."""
        letters = [letter for declared in self.inputs for axis in declared.axes for letter in axis.split("+")]
        letters += list(self.settings.values())
        return tuple(dict.fromkeys(axis for axis in letters if not axis.isdigit()))

    @property
    def weighs_directly(self) -> bool:
        """Whether the output is the values weighted, with nothing before or after it."""
        value = next((declared for declared in self.inputs if declared.name == "value"), None)
        return bool(self.scores) and value is not None and value.axes[-1] == self.output[-1] == "Dv"

    @property
    def returns_weights(self) -> bool:
        """Whether the output is the weights themselves."""
        return bool(self.scores) and self.output == self.scores

    @property
    def formula(self) -> str:
        """The LaTeX of the specification, between the docstring's first pair of double dollars."""
        found = re.search(r"\$\$(.+?)\$\$", self.evaluate.__doc__ or "", re.S)
        if found is None:
            raise ValueError(f"the docstring of {self.name} states no $$formula$$")
        return " ".join(found[1].split())

    @property
    def specification(self) -> str:
        """The docstring behind the formula: shapes, edge rules and sources in words."""
        return (inspect.getdoc(self.evaluate) or "").split("$$")[-1].strip()

    def example(self, name: str) -> Example:
        """Return a worked example by name."""
        return next(example for example in self.examples if example.name == name)


def spread(*shape: int) -> NDArray[np.float64]:
    """Return fixed numbers in [-2, 2], exact in every format, for examples whose values do not matter."""
    return ((np.arange(int(np.prod(shape))) * 37 % 65) / 16 - 2).reshape(shape)
