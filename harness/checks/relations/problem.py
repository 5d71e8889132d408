"""A case whose numbers a relation has changed, the implementation's answer to it, and the comparison of two answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement, ratio
from attention_harness.cases import inputs
from attention_harness.checks import expected
from attention_harness.checks.expected import Bounds, OutOfRange, bounds_of
from attention_harness.checks.form import WrongForm, numbers, to_array, wrong_form
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import hiding
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[[NDArray[Any], int, str], NDArray[Any]]
"""(array, axis, name of the tensor) -> the array changed along the axis."""


def letters(case: Case) -> tuple[str, str]:
    """Return the axes of queries and keys; ("", "") where there are no scores."""
    scores = mechanisms()[case.mechanism].scores
    return (scores[-2], scores[-1]) if scores else ("", "")


@dataclass(frozen=True)
class Problem:
    """A case and its arrays by name, in float64, bool or int64; the numbers are those of the case's dtype."""

    case: Case
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, case: Case) -> Problem:
        """Return the problem with the case's own numbers."""
        return cls(case, expected.arrays_of(case))

    @property
    def mechanism(self) -> Mechanism:
        return mechanisms()[self.case.mechanism]

    @property
    def score_shape(self) -> tuple[int, ...]:
        return inputs.shape_of(self.mechanism.scores, self.case.sizes)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which keys each query sees, in the shape of the scores."""
        return expected.visible(self.case, self.arrays)

    @property
    def keyed(self) -> list[str]:
        """The names of the mechanism's tensors along the keys."""
        letter = self.mechanism.scores[-1]
        return [declared.name for declared in self.mechanism.inputs if letter in declared.axes]

    def changed(self, **arrays: NDArray[Any]) -> Problem:
        """Return the problem with some tensors replaced."""
        return replace(self, arrays={**self.arrays, **arrays})

    def along(self, letter: str, change: Change, names: Sequence[str] = ()) -> Problem:
        """Return the problem with every tensor, or the named ones, changed along each of its axes of that letter."""
        made = {}
        for name in names or self.arrays:
            array = self.arrays[name]
            for axis, axis_letter in enumerate(expected.axes_of(self.case, name)):
                array = change(array, axis, name) if axis_letter == letter else array
            made[name] = array
        return self.changed(**made)

    def taken(self, letter: str, index: Sequence[int] | NDArray[np.int64]) -> Problem:
        """Return the problem with the entries of that axis picked: in another order, fewer, or some repeatedly."""
        picked = self.along(letter, lambda array, axis, _: np.take(array, np.asarray(index, np.int64), axis))
        return replace(picked, case=replace(self.case, sizes={**self.case.sizes, letter: len(index)}))

    def rows(self, array: NDArray[Any], rows: Any) -> NDArray[Any]:
        """Return these queries' rows of an output."""
        return np.take(array, rows, self.mechanism.output.index(self.mechanism.scores[-2]))

    def hidden(self, keys: Sequence[int]) -> Problem:
        """Return the problem with these keys hidden from every query by an option's tensor.

        The problem itself where no option brings one: causality then hides them.
        """
        hidden = np.isin(np.arange(self.score_shape[-1]), keys)[None]
        for name, way in hiding(self.case.options).items():
            return self.changed(**{name: way.hide(self.arrays[name], hidden)})
        return self

    def moved(self, places: int) -> Problem:
        """Return the problem with what counts its keys following them: they have moved up by so many places."""
        keys, ways = self.score_shape[-1], hiding(self.case.options)
        return self.changed(**{name: way.moved(self.arrays[name], places, keys) for name, way in ways.items()})


Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """What the implementation answered, and how far from it a right answer may be. weights: None where it has none."""

    output: Array
    bound: Array
    weights: Array | None
    weights_bound: Array | None


def answer_to(subject: Subject, problem: Problem) -> Answer:
    """Return the implementation's answer to a problem, with the bounds of that problem."""
    output, weights = bounds(subject, problem)
    returned = subject.prepared_for(problem.case).call(tensors(problem))
    form = wrong_form(returned.output, problem.case, output.value.shape, "output")
    if form:
        raise WrongForm(f"{form}; called for {problem.case.id} with numbers of a relation")
    if returned.weights is None or weights is None or not subject.implementation.capabilities.weights:
        return Answer(to_array(returned.output), output.bound, None, None)
    returned_weights = numbers(returned.weights, problem.case, weights.value.shape, "weights")
    return Answer(to_array(returned.output), output.bound, returned_weights, weights.bound)


def bounds(subject: Subject, problem: Problem) -> Bounds:
    """Return the error bounds of a problem's output and weights; raise OutOfRange where its dtype cannot hold it."""
    capabilities = subject.implementation.capabilities
    found = bounds_of(problem.case, problem.arrays, capabilities.arithmetic, capabilities.policy)
    if found[0].overflow:
        raise OutOfRange(f"{problem.case.id} with the numbers of a relation: {found[0].overflow}")
    return found


def tensors(problem: Problem) -> dict[str, Tensor]:
    """Return the torch tensors of a problem, in its dtype, device and memory layout.

    Raises ValueError for a number that the dtype does not hold: a relation would then compare different problems.
    """
    case = problem.case
    layout = "contiguous" if case.layout == "expanded" else case.layout
    made = {name: inputs.tensor(case, name, array, layout) for name, array in problem.arrays.items()}
    for name, array in inputs.exact(made).items():
        if not np.array_equal(array, problem.arrays[name], equal_nan=array.dtype.kind == "f"):
            raise ValueError(f"{case.id}: the relation's {name} is not exact in {case.dtype}")
    return made


def agree(
    one: Array, other: Array, allowed: Array, where: NDArray[np.bool_] | bool = True, what: str = "two equal answers"
) -> Judgement:
    """Return the judgement that two arrays differ by no more than allowed, element by element, `where` it matters.

    Both NaN agree: a declared policy of rows that see no key may be NaN.
    """
    where = np.broadcast_to(where, one.shape)
    if not where.any():
        return Judgement(0.0)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(same, 0.0, np.abs(one - other))
    error = np.where(where, np.where(np.isnan(error), np.inf, error), 0.0)
    allowed = np.broadcast_to(allowed, one.shape)
    error_ratio = ratio(error, allowed)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    largest = float(error_ratio[at])
    if largest <= 1:
        return Judgement(largest, float(error[at]), at)
    reason = f"{what} differ by {error[at]:.3g}, their error bounds allow {allowed[at]:.3g}: "
    reason += f"{one[at]:.9g} and {other[at]:.9g}"
    return Judgement(largest, float(error[at]), at, reason)


def same_answer(subject: Subject, one: Problem, other: Problem, what: str) -> Judgement:
    """Return the judgement that an implementation answers two problems alike."""
    first, second = answer_to(subject, one), answer_to(subject, other)
    return agree(first.output, second.output, first.bound + second.bound, what=what)


def on_grid(case: Case, array: Array, largest: float) -> Array:
    """Return the array rounded so coarsely that sums up to `largest` in magnitude are exact in the case's dtype."""
    if largest <= 0 or not np.isfinite(largest):
        return array
    grid = 2.0 ** (np.ceil(np.log2(largest)) + 1) * case.format.roundoff
    return np.rint(array / grid) * grid
