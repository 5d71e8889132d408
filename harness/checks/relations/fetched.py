r"""What each key of a problem gives alone, so that an output is a weighted mean of it.

$$O_i = o_i + \sum_h \sum_j P_{hij}\, F_{hij}$$

F is what query i fetches from key j alone, and o what it has without any key: `Algebra.fetched` of the mechanism, or
the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Problem, letters
from attention_harness.model.case import Case
from attention_harness.reference.algebra import Fetched
from attention_harness.registry import mechanisms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """What each key of a problem gives alone.

    parts    (B, heads or 1, Lq or 1, Lk, width)
    offset   the output without any key
    seen     which keys each query sees, (B, heads or 1, Lq, Lk)
    joined   whether the heads are summed
    """

    parts: Array
    offset: Array
    seen: NDArray[np.bool_]
    joined: bool

    def output(self, weights: Array) -> Array:
        """Return the output that these weights give."""
        return self.join((np.asarray(weights)[..., None] * self.parts).sum(-2))

    def join(self, per_head: Array) -> Array:
        """Return what the heads make together, in the output's shape."""
        return self.offset + (per_head.sum(1) if self.joined else per_head.reshape(self._shape(per_head)))

    def rows(self) -> Any:
        """Return the rows of the output all of whose heads see a key, with a last axis of 1."""
        some: Any = self.seen.any(-1, keepdims=True)
        return some.all(1) if self.joined else some.reshape(self._shape(some))

    def _shape(self, array: NDArray[Any]) -> tuple[int, ...]:
        return array.shape if self.offset.ndim == 4 else (array.shape[0], *array.shape[2:])


def fetches(implementation: Declaration, case: Case) -> bool:
    """Return whether what a key gives alone is known from the inputs."""
    mechanism = mechanisms()[case.mechanism]
    return bool(mechanism.scores) and (mechanism.weighs_directly or mechanism.algebra.fetched is not None)


def has_keys(implementation: Declaration, case: Case) -> bool:
    """Return whether there is a key."""
    letter = letters(case)[1]
    return bool(letter) and case.sizes[letter] > 0


def parts_of(problem: Problem) -> Parts:
    """Return what each key of a problem gives alone."""
    sizes, mechanism = problem.case.sizes, problem.mechanism
    shape = problem.score_shape
    seen = problem.visible.reshape(shape if len(shape) == 4 else (shape[0], 1, *shape[1:]))
    fetch = mechanism.algebra.fetched or _values
    fetched = fetch(problem.arrays, sizes)
    output = np.zeros(tuple(sizes[axis] for axis in mechanism.output)) + fetched.offset
    return Parts(fetched.parts, output, seen, fetched.joined)


def _values(arrays: Any, sizes: Any) -> Fetched:
    """Return the values, one for each query's head."""
    values = arrays["value"]
    if values.ndim == 3:
        return Fetched(values[:, None, None])
    return Fetched(np.repeat(values, sizes["H"] // values.shape[1], 1)[:, :, None])
