r"""What the output is, seen from what each key gives alone: linear in it, within its hull, and known for known weights.

$$O_i = o_i + \sum_h \sum_j P_{hij}\, F_{hij}$$

F is what query i fetches from key j alone, and o what it has without any key: `Algebra.fetched` of the mechanism, or
the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement, worst
from attention_harness.cases import inputs
from attention_harness.checks.declaration import check
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.problem import Problem, agree, answer_to, letters, on_grid
from attention_harness.checks.relations.sampling import changeable, plain, precise, simple
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Stage, hiding
from attention_harness.reference.algebra import Decided, Fetched, Patterns
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
    fetched = (mechanism.algebra.fetched or _values)(problem.arrays, sizes)
    output = np.zeros(tuple(sizes[axis] for axis in mechanism.output)) + fetched.offset
    return Parts(fetched.parts, output, seen, fetched.joined)


def _values(arrays: Any, sizes: Any) -> Fetched:
    """Return the values, one for each query's head."""
    values = arrays["value"]
    if values.ndim == 3:
        return Fetched(values[:, None, None])
    return Fetched(np.repeat(values, sizes["H"] // values.shape[1], 1)[:, :, None])


_LIFT = 2.0  # the values are lifted to twice their largest magnitude, so that none is negative
_OTHER = 16.0  # of the second summand: the two differ in size


def _linear_name(case: Case) -> str:
    """Return the tensor in which the output is linear but for its offset, or ""."""
    return mechanisms()[case.mechanism].algebra.linear


def is_linear(implementation: Declaration, case: Case) -> bool:
    """Return whether there are values to be linear in; where keys are fetched, whether the offset is known."""
    return bool(_linear_name(case)) and (fetches(implementation, case) or not mechanisms()[case.mechanism].scores)


@check("relation.linear_in_values", changeable, is_linear, sampled=plain)
def linear_in_values(subject: Subject) -> Judgement:
    r"""Linear in V: f(V + V') + f(0) = f(V) + f(V'), where f(0) is 0 but for a residual or a combining layer.

    V' is 16 V, rolled by one key; both are rounded so that the sum is exact. Cross attention is linear in W_v.
    """
    problem = Problem.of(subject.case)
    name = _linear_name(subject.case)
    value = problem.arrays[name]
    value = on_grid(subject.case, value, (1 + _OTHER) * float(np.abs(value).max(initial=0.0)))
    other = _OTHER * np.roll(value, 1, -2)
    arrays = (value + other, 0 * value, value, other)
    both, nothing, one, two = (answer_to(subject, problem.changed(**{name: array})) for array in arrays)
    allowed = np.sum([answer.bound for answer in (both, nothing, one, two)], 0)
    return agree(
        both.output + nothing.output, one.output + two.output, allowed, what="f(V + V') + f(0) and f(V) + f(V')"
    )


@check("relation.zero_values", changeable, is_linear, fetches, sampled=plain)
def zero_values(subject: Subject) -> Judgement:
    """Zero values leave the residual: O = E for cross attention, W_c [Q; 0] + b_c for `location`, 0 elsewhere."""
    problem = Problem.of(subject.case)
    name = _linear_name(subject.case)
    problem = problem.changed(**{name: np.zeros_like(problem.arrays[name])})
    answer, parts = answer_to(subject, problem), parts_of(problem)
    what = "the output and what stands beside zero values"
    return agree(answer.output, parts.offset, answer.bound, parts.rows(), what)


@check("relation.hull", changeable, fetches, sampled=plain)
def hull(subject: Subject) -> Judgement:
    r"""Outputs stay in the hull of the visible values: $\min_j V_{jc} \le O_{ic} \le \max_j V_{jc}$, $j \in N(i)$.

    Judged for the values as they are, and lifted until none is negative: weights that sum to less than 1 then leave it.
    """
    problem = Problem.of(subject.case)
    if "value" not in problem.arrays:
        return _in_hull(subject, problem)
    value = problem.arrays["value"]
    largest = float(np.abs(value).max(initial=0.0))
    lift = _LIFT * 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 0.0
    lifted = problem.changed(value=on_grid(subject.case, value, lift + largest) + lift)
    return worst([_in_hull(subject, each) for each in (problem, lifted)])


def _in_hull(subject: Subject, problem: Problem) -> Judgement:
    answer, parts = answer_to(subject, problem), parts_of(problem)
    seen = parts.seen[..., None]
    whole = np.broadcast_to(parts.parts, np.broadcast_shapes(parts.parts.shape, seen.shape))
    low = parts.join(np.min(whole, -2, initial=np.inf, where=seen))
    high = parts.join(np.max(whole, -2, initial=-np.inf, where=seen))
    nearest = np.where(np.isnan(answer.output), low, np.clip(answer.output, low, high))
    return agree(answer.output, nearest, answer.bound, parts.rows(), "the output and the hull of the visible values")


def sees_one_key(implementation: Declaration, case: Case) -> bool:
    """Return whether a query sees a single key, or can be made to by an option's tensor."""
    keys = case.sizes[letters(case)[1]]
    return keys == 1 or (keys > 1 and any(way.any_keys for way in hiding(case.options).values()))


@check("relation.one_key", changeable, fetches, sees_one_key, sampled=precise)
def one_key(subject: Subject) -> Judgement:
    """One key returns its value: a query that sees a single key has weight 1 on it, whatever the score."""
    problem = Problem.of(subject.case)
    if problem.score_shape[-1] > 1:
        problem = _one_seen(problem)
    answer, parts = answer_to(subject, problem), parts_of(problem)
    alone = parts.seen.sum(-1, keepdims=True) == 1
    alone = alone.all(1) if parts.joined else alone.reshape(parts.rows().shape)
    expected = parts.output(parts.seen.astype(np.float64))
    return agree(answer.output, expected, answer.bound, alone, "the output and the only key's value")


def _one_seen(problem: Problem) -> Problem:
    """Hide every key but one, another one for each query where an option's tensor has a row for each."""
    name, way = next(iter(hiding(problem.case.options).items()))
    queries, keys = problem.arrays[name].shape[-2:]
    hidden = np.arange(queries)[:, None] * 2 % keys != np.arange(keys)
    return problem.changed(**{name: way.hide(problem.arrays[name], hidden)})


@check("relation.equal_keys", changeable, fetches, has_keys, sampled=plain)
def equal_keys(subject: Subject) -> Judgement:
    """Equal keys give the mean: with k_j = k for all j, O_i is the mean of the values that i sees."""
    problem = Problem.of(subject.case)
    letter = problem.mechanism.scores[-1]
    problem = problem.along(letter, _first_everywhere, [name for name in problem.keyed if name != "value"])
    for name in problem.arrays:
        if name in OPTIONS and OPTIONS[name].stage is Stage.BIAS:  # what it adds is the same, what it hides stays
            array = problem.arrays[name]
            problem = problem.changed(**{name: np.where(np.isneginf(array), array, 0.0)})
    answer, parts = answer_to(subject, problem), parts_of(problem)
    number = parts.seen.sum(-1, keepdims=True)
    expected = parts.output(parts.seen / np.maximum(number, 1))
    return agree(answer.output, expected, answer.bound, parts.rows(), "the output and the mean of the visible values")


def _first_everywhere(array: NDArray[Any], axis: int, _: str) -> NDArray[Any]:
    return np.repeat(np.take(array, [0], axis), array.shape[axis], axis)


def _decided(case: Case) -> Decided | None:
    """Return tensors under which the scores of a case decide, or None if no such are known or they do not fit."""
    mechanism = mechanisms()[case.mechanism]
    if mechanism.algebra.decided is None:
        return None
    shapes = {declared.name: inputs.shape_of(declared.axes, case.sizes) for declared in mechanism.inputs}
    queries, keys = (case.sizes[axis] for axis in letters(case))
    return mechanism.algebra.decided(Patterns(shapes, case.sizes, queries, keys), case.options)


@check(
    "relation.sharp_scores",
    changeable,
    fetches,
    has_keys,
    lambda _, case: case.format.single and _decided(case) is not None,
    sampled=simple,
)
def sharp_scores(subject: Subject) -> Judgement:
    r"""Sharp scores fetch the best key's value: $O_i \to V_{\pi(i)}$ as $S_{i\pi(i)} - S_{ij} \to \infty$.

    Keys are sign patterns that spell their number in binary, a query is the pattern of the key that it shall fetch: by
    inner product or distance that key is best by a gap that follows from the construction, so that no reference has to
    say which it is. What the other keys keep, $(n - 1) e^{-\text{gap}}$ of the values' range, is allowed.
    """
    decided = _decided(subject.case)
    assert decided is not None
    problem = Problem.of(subject.case).changed(**decided.arrays)
    keys = problem.score_shape[-1]
    answer, parts = answer_to(subject, problem), parts_of(problem)
    expected = parts.output(decided.best[:, None] == np.arange(keys))
    spread = parts.join(np.ptp(parts.parts, -2)) - parts.offset
    left = (keys - 1) * np.exp(-decided.gap) * spread
    return agree(answer.output, expected, answer.bound + left, what="the output and the best key's value")
