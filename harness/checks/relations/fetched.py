r"""What each key of a problem gives alone, so that an output is a weighted mean of it.

$$O_i = o_i + \sum_h \sum_j P_{hij}\, F_{hij}$$

F is what query i fetches from key j alone - the value, behind the mechanism's own projections - and o what it has
without any key: the residual of cross attention, the query's part of the combining layer of `location`. The sum over h
is multi-head attention's; elsewhere the heads stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Problem, letters
from attention_harness.model.case import Case

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fetched:
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


def fetched(problem: Problem) -> Fetched:
    """Return what each key of a problem gives alone."""
    given, sizes = problem.arrays, problem.case.sizes
    shape = problem.score_shape
    seen = problem.visible.reshape(shape if len(shape) == 4 else (shape[0], 1, *shape[1:]))
    output = np.zeros((*(sizes[axis] for axis in problem.mechanism.output),))
    if "scores" in given:
        return Fetched(np.eye(shape[-1])[None, None, None], output, seen, joined=False)
    name = next(name for name in ("value", "context", "sequence") if name in given)
    values = given[name] if "W_v" not in given else given[name] @ given["W_v"].T
    if "W_o" in given:
        heads = sizes["H"]
        split = values.reshape(*values.shape[:-1], heads, sizes["E"] // heads).swapaxes(1, 2)  # (B, H, Lk, E / H)
        columns = given["W_o"].reshape(sizes["O"], heads, sizes["E"] // heads)  # (O, H, E / H)
        return Fetched(np.einsum("bhkd,ohd->bhko", split, columns)[:, :, None], output, seen, joined=True)
    if "W_c" in given:
        size = given["query"].shape[-1]
        output = given["query"] @ given["W_c"][:, :size].T + given["b_c"]
        values = values @ given["W_c"][:, size:].T
    if name == "context":
        output = given["sequence"]
    if values.ndim == 3:
        return Fetched(values[:, None, None], output, seen, joined=False)
    heads = shape[1] // values.shape[1]
    return Fetched(np.repeat(values, heads, 1)[:, :, None], output, seen, joined=False)


def fetches(implementation: Declaration, case: Case) -> bool:
    """Return whether what a key gives alone is known from the inputs: no positions are added to the keys."""
    return bool(letters(case)[1]) and case.options.get("positions") != "sinusoidal"


def has_keys(implementation: Declaration, case: Case) -> bool:
    """Return whether there is a key."""
    letter = letters(case)[1]
    return bool(letter) and case.sizes[letter] > 0
