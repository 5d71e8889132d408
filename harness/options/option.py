"""What an option is: one frozen object says everything that the harness has to know of it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Axes = tuple[str, ...]
Part = tuple[str, int, int]
"""A tensor's name in a call, and from which key to which it reaches, the last one excluded."""


class Stage(enum.IntEnum):
    """Where in the pipeline of a pairwise mechanism an option acts, in this order."""

    SCORES = 0
    SCALE = 1
    CAP = 2
    BIAS = 3
    VISIBILITY = 4
    SOFTMAX = 5
    DROPOUT = 6


class Group(enum.StrEnum):
    """Which mechanisms take an option."""

    SCORES = "every mechanism with scores"
    HEADS = "every mechanism whose scores pair positions of two sequences, in several heads"
    PAIRS = "every mechanism whose scores pair positions of two sequences"
    SUMS = "every mechanism that sums values by weights"
    NAMED = "the mechanisms that name it themselves"


@dataclass(frozen=True, slots=True)
class Moved:
    """Where an option acts in place of its stage, as some libraries have it: right behind another option.

    behind  the other option
    seen    whether the keys that the other one hides are hidden no longer: their scores are what becomes of -inf
    """

    behind: str
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where some rows of scores stand among all of them: a block of queries against every key.

    outer   how many axes the scores have before those of queries and keys: 2 with heads, 1 without
    """

    queries: int
    keys: int
    rows: slice = field(default_factory=lambda: slice(None))
    outer: int = 2

    @property
    def query(self) -> NDArray[np.int64]:
        """The numbers of the queries, as a column."""
        return np.arange(self.queries)[self.rows, None]


class Draw(Protocol):
    """What an option's tensor is drawn from: streams of numbers that belong to one case.

    form     the option's form in this case
    shape    of the tensor
    queries  how many queries there are
    keys     how many keys there are
    layout   the case's memory layout
    flag     a coin that the case's fields decide: half of all cases have it
    seen     a query and the two keys that it must be shown for an error of a score or weight to be visible there
    """

    @property
    def form(self) -> Any: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def queries(self) -> int: ...
    @property
    def keys(self) -> int: ...
    @property
    def layout(self) -> str: ...
    @property
    def flag(self) -> bool: ...
    @property
    def seen(self) -> tuple[int, tuple[int, ...]]: ...

    def normal(self, part: str = "") -> NDArray[np.float64]:
        """Return normal numbers in the tensor's shape."""

    def whole_numbers(self, limit: int, part: str = "") -> NDArray[np.int64]:
        """Return whole numbers from 0 to limit - 1 in the tensor's shape."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """The tensor that comes with a call for every form that is a word; a number is no tensor.

    axes        (form, axes of the scores) -> its axes, "1" where it is broadcast
    draw        makes its numbers: float64, int64 or bool
    cut         (array, rows, number of queries) -> the array for these rows of the scores
    parameter   whether it is learned, so that it has no batch
    bytes       of an element; None for the case's dtype
    """

    axes: Callable[[Any, Axes], Axes]
    draw: Callable[[Draw], Numbers]
    cut: Callable[[Numbers, slice, int], Numbers] = lambda array, rows, queries: array
    parameter: bool = False
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Codes:
    """How the mechanism's tensors are handed over where they are codes, with scales beside them.

    dtype    torch's name of the codes' dtype
    scales   for each of these tensors of the mechanism, the name of the tensor of its scales
    encode   (tensor's name, numbers, largest number of the scales' dtype) -> codes, not yet rounded to their dtype, and
             scales
    """

    dtype: str
    scales: Mapping[str, str]
    encode: Callable[[str, Numbers, float], tuple[Numbers, Numbers]]


@dataclass(frozen=True, slots=True)
class Hiding:
    """How an option's tensor hides keys: for checks that hide some, or want none hidden.

    shown     (shape, number of keys) -> the tensor that hides none
    hide      (tensor, which keys to hide: one row for all queries or one for each) -> the tensor that hides them too
    any_keys  whether any keys can be hidden; otherwise the last ones alone
    whole_rows  forms that cannot hide one key and show another
    moved     (tensor, places, number of keys) -> the tensor after the keys have moved up by so many places, where it
              counts them; one with an axis of keys moves with that
    """

    shown: Callable[[tuple[int, ...], int], Numbers]
    hide: Callable[[Numbers, NDArray[np.bool_]], Numbers]
    any_keys: bool = True
    whole_rows: tuple[str, ...] = ()
    moved: Callable[[Numbers, int, int], Numbers] = lambda array, places, keys: array


def _any_scores(form: Any, scores: Axes) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the harness.

    name          its keyword in a call, and in a case's id: `name=form`
    summary       one sentence for a reader
    capability    form -> the name under which an implementation declares that it takes the form
    capabilities  all such names
    group         which mechanisms take it
    stage         where it acts
    forms         the forms that the case matrix combines, simplest first; none if its cases are written by hand
    more_forms    further forms, for cases drawn at random
    accepts       whether a form is one; a form is a word, a number or a tuple of whole numbers
    expected      what to tell who gave another one
    of_sizes      whether a case has it because of its sizes: then it stands in no id
    tensor        the tensor that it brings, under its own name
    brought       further tensors that it brings, by their names in a call
    codes         form -> how tensors of the mechanism are handed over as codes; nobody has gradients of those
    apply         (scores, number or finite tensor) -> scores, by the operators that `reference.arrays.Array` lists
    adds          (form, shape of the scores, place, all options) -> what is computed from places alone and added to the
                  scores, broadcastable to them, and how many roundings each of these numbers has
    picks         (place, all options) -> which row of its tensor each pair of query and key takes, one number for each
                  head, to be added to the scores: (Lq, Lk), or (B, Lq, Lk)
    beside        tensor -> a column of scores, the same in each row, that weigh in the softmax without a value
    visible       (tensor, shape of the scores) -> which keys each query sees, broadcastable to the scores
    interval      (form or tensor, place, all options) -> the first and last key that each query sees, as columns, also
                  (B, 1, Lq, 1), or (B, Lq, 1) where there are no heads; both inclusive
    read_as       (form, queries, keys) -> what some libraries compute for the form: a word for it -> another form
    moves         stages behind whose options some libraries apply it, if it acts on scores
    hiding        how its tensor hides keys
    parts         (form, queries, keys) -> the mechanism's tensors that a call takes in parts along their keys, and the
                  parts of each, in order
    lacks         (form, axes of the scores) -> what the mechanism lacks for the form, or ""
    breaks        names of the relations that do not hold under it
    returned      whether a call returns a further result for it, after the output and the weights
    training      whether it acts in training alone: then no formula has it
    argument      the form that `choose --name` means without a value; None: a value must be given
    """

    name: str
    summary: str
    capability: Callable[[Any], str]
    capabilities: tuple[str, ...]
    group: Group
    stage: Stage
    forms: tuple[Any, ...] = ()
    more_forms: tuple[Any, ...] = ()
    accepts: Callable[[Any], bool] = lambda form: False
    expected: str = ""
    of_sizes: Callable[[Mapping[str, int]], bool] | None = None
    tensor: Tensor | None = None
    brought: Mapping[str, Tensor] = field(default_factory=dict)
    codes: Callable[[Any], Codes] | None = None
    apply: Callable[[Any, Any], Any] | None = None
    adds: Callable[[Any, tuple[int, ...], Place, Mapping[str, Any]], tuple[NDArray[np.float64], float]] | None = None
    picks: Callable[[Place, Mapping[str, Any]], NDArray[np.int64]] | None = None
    beside: Callable[[Any], Any] | None = None
    visible: Callable[[Any, tuple[int, ...]], NDArray[np.bool_]] | None = None
    interval: Callable[[Any, Place, Mapping[str, Any]], tuple[Any, Any]] | None = None
    read_as: Callable[[Any, int, int], dict[str, Any]] | None = None
    moves: tuple[Stage, ...] = ()
    hiding: Hiding | None = None
    parts: Callable[[Any, int, int], Mapping[str, tuple[Part, ...]]] | None = None
    lacks: Callable[[Any, Axes], str] = _any_scores
    breaks: frozenset[str] = frozenset()
    returned: bool = False
    training: bool = False
    argument: Any = None

    @property
    def hides(self) -> bool:
        """Whether it can hide keys, by a tensor or without one."""
        return self.visible is not None or self.interval is not None

    @property
    def adds_to_scores(self) -> bool:
        """Whether it changes the scores, as a bias does, and not only which of them count."""
        return not (self.apply is None and self.adds is None and self.picks is None)

    @property
    def in_formula(self) -> bool:
        """Whether it changes what is computed, and not only what a call takes, returns or does in training."""
        return not (self.training or self.returned or self.parts is not None or self.codes is not None)

    def brings(self, form: Any) -> Tensor | None:
        """Return the tensor that a form brings, or None: a learned scale is one, a number is not."""
        return self.tensor if isinstance(form, str) else None

    def brings_all(self, form: Any) -> dict[str, Tensor]:
        """Return every tensor that a form brings, by its name in a call."""
        own = self.brings(form)
        return ({} if own is None else {self.name: own}) | dict(self.brought)
