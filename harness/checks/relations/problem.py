"""A case whose numbers a relation has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases import inputs
from attention_harness.checks import expected
from attention_harness.model.case import Case
from attention_harness.options import Hiding, hiding
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

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

    def axes(self, name: str) -> tuple[str, ...]:
        """Return the axis letters of a tensor, "1" where it is broadcast."""
        return expected.axes_of(self.case, name)

    @property
    def hiding(self) -> dict[str, Hiding]:
        """The ways to hide keys that the case's options bring: those that hide any keys first."""
        return hiding(self.case.options)

    def changed(self, **arrays: NDArray[Any]) -> Problem:
        """Return the problem with some tensors replaced."""
        return replace(self, arrays={**self.arrays, **arrays})

    def along(self, letter: str, change: Change, names: Sequence[str] = ()) -> Problem:
        """Return the problem with every tensor, or the named ones, changed along each of its axes of that letter."""
        made = {}
        for name in names or [name for name in self.arrays if letter in self.axes(name)]:
            array = self.arrays[name]
            for axis, axis_letter in enumerate(self.axes(name)):
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
        for name, way in self.hiding.items():
            return self.changed(**{name: way.hide(self.arrays[name], hidden)})
        return self

    def moved(self, places: int) -> Problem:
        """Return the problem with what counts its keys following them: they have moved up by so many places."""
        keys = self.score_shape[-1]
        return self.changed(**{name: way.moved(self.arrays[name], places, keys) for name, way in self.hiding.items()})
