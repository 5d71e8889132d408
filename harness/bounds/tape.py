r"""Reverse-mode differentiation of the reference formulas, on any array that they run on.

A `Taped` array wraps an inner array, computes with it, and remembers how each result came about. `gradients` then goes
backwards: the adjoint of an operand is made from the adjoint of the result by operations of the inner array,

$$C = A B: \; \bar A = \bar C B^\top,\; \bar B = A^\top \bar C; \qquad
P = \operatorname{softmax} S: \; \bar S_j = P_j \Big(\bar P_j - \sum_{j'} P_{j'} \bar P_{j'}\Big)$$

so a tape over `Tracked` arrays gives gradients with their rounding bounds, and a tape over a tape second derivatives.
`differentiable` lists what a tape asks of the arrays under it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.differentiable import Softmax
from attention_harness.bounds.recurrence import TapedSteps
from attention_harness.bounds.root_mean_square import RootMeanSquare
from attention_harness.bounds.ufuncs import Ufuncs
from attention_harness.reference.arrays import Words, operations

_NUMBERS = itertools.count()

Pull = Callable[[Any], Any]
"""From the adjoint of a result to the adjoint of one operand."""


class Taped(TapedSteps, RootMeanSquare, Ufuncs):
    """An array with the way back to what it was computed from. `value` is the inner array."""

    def __init__(self, value: Any, *parents: tuple[Taped, Pull]) -> None:
        self.value = value
        self.parents = parents
        self.number = next(_NUMBERS)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    # --- what moves numbers about

    def __getitem__(self, index: Any) -> Taped:
        shape = self.shape
        return Taped(self.value[index], (self, lambda adjoint: adjoint.scatter(index, shape)))

    def scatter(self, index: Any, shape: tuple[int, ...]) -> Taped:
        return Taped(self.value.scatter(index, shape), (self, lambda adjoint: adjoint[index]))

    def transpose(self, *axes: int) -> Taped:
        back = tuple(int(axis) for axis in np.argsort(axes))
        return Taped(self.value.transpose(*axes), (self, lambda adjoint: adjoint.transpose(*back)))

    def swapaxes(self, first: int, second: int) -> Taped:
        return Taped(self.value.swapaxes(first, second), (self, lambda adjoint: adjoint.swapaxes(first, second)))

    def reshape(self, *shape: int) -> Taped:
        before = self.shape
        return Taped(self.value.reshape(*shape), (self, lambda adjoint: adjoint.reshape(*before)))

    def expand(self, shape: tuple[int, ...]) -> Taped:
        before = self.shape
        return Taped(self.value.expand(shape), (self, lambda adjoint: _reduced(adjoint, before)))

    def repeat(self, repeats: int, axis: int) -> Taped:
        before, at = self.shape, axis % self.ndim

        def pull(adjoint: Any) -> Any:
            stored = adjoint.as_output()  # autograd hands over the gradient of each repetition by itself
            groups = stored.reshape(*before[: at + 1], repeats, *before[at + 1 :])
            return _reduced(groups, (*before[: at + 1], 1, *before[at + 1 :])).reshape(*before)

        return Taped(self.value.repeat(repeats, axis), (self, pull))

    def beside(self, column: Any) -> Taped:
        keys = self.shape[-1]
        parents: list[tuple[Taped, Pull]] = [(self, lambda adjoint: adjoint[..., :keys])]
        if isinstance(column, Taped):
            parents.append((column, lambda adjoint: _reduced(adjoint[..., keys:], column.shape)))
        return Taped(self.value.beside(_inner(column)), *parents)

    def picked(self, rows: NDArray[np.int64]) -> Taped:
        number, heads = self.shape
        named = (rows.reshape(-1, 1) == np.arange(number)).astype(np.float64)

        def pull(adjoint: Any) -> Any:  # the sum over the places that name a row, in any order
            ones = adjoint.computed(named, 0)
            by_head = adjoint if rows.ndim == 2 else adjoint.swapaxes(0, 1)
            return (
                by_head.reshape(heads, len(named)) @ (Taped(ones) if isinstance(adjoint, Taped) else ones)
            ).swapaxes(0, 1)

        return Taped(self.value.picked(rows), (self, pull))

    def of_keys(self, keys: int) -> Taped:
        index, shape = (..., slice(0, keys)), self.shape
        return Taped(self.value.of_keys(keys), (self, lambda adjoint: adjoint.scatter(index, shape)))

    def in_parts(self, left: Taped, right: Taped, layer: bool) -> Taped:
        return Taped(self.value.in_parts(left.value, right.value, layer), (self, lambda adjoint: adjoint))

    def as_output(self) -> Taped:
        return Taped(self.value.as_output(), (self, lambda adjoint: adjoint))

    # --- arithmetic

    def __add__(self, other: Any) -> Taped:
        parents = [(x, _reducing(x)) for x in (self, other) if isinstance(x, Taped)]
        return Taped(self.value + _inner(other), *parents)

    __radd__ = __add__

    def __neg__(self) -> Taped:
        return Taped(-self.value, (self, lambda adjoint: -adjoint))

    def __sub__(self, other: Any) -> Taped:
        parents = [(self, _reducing(self))]
        if isinstance(other, Taped):
            parents.append((other, lambda adjoint: _reduced(-adjoint, other.shape)))
        return Taped(self.value - _inner(other), *parents)

    def __mul__(self, other: Any) -> Taped:
        factor = _inner(other)
        parents = [(self, lambda adjoint: _reduced(adjoint * factor, self.shape))]
        if isinstance(other, Taped):
            parents.append((other, lambda adjoint: _reduced(adjoint * self.value, other.shape)))
        return Taped(self.value * factor, *parents)

    __rmul__ = __mul__

    def total(self, terms: Sequence[Taped]) -> Taped:
        parents = [(term, lambda adjoint: adjoint) for term in terms]
        return Taped(self.value.total([term.value for term in terms]), *parents)

    def sum(self, axis: int) -> Taped:
        shape = self.shape
        return Taped(self.value.sum(axis), (self, lambda adjoint: adjoint[..., None].expand(shape)))

    def __matmul__(self, other: Taped) -> Taped:
        if other.ndim == 1:
            return (self @ other[:, None])[..., 0]
        left, right = self.value, other.value
        out = left @ right

        def pull_left(adjoint: Any) -> Any:
            if _weighs(left):
                return _reduced(left.incoming(adjoint, right, out), self.shape)
            return _reduced(adjoint @ right.swapaxes(-1, -2), self.shape)

        def pull_right(adjoint: Any) -> Any:
            if len(right.shape) == 2:  # one matrix for all: one product, or a product for each batch element, stored
                return _over_batch(left, adjoint)
            return _reduced(left.swapaxes(-1, -2) @ adjoint, right.shape)

        return Taped(out, (self, pull_left), (other, pull_right))

    def tanh(self) -> Taped:
        value = np.tanh(self.value)
        return Taped(value, (self, lambda adjoint: adjoint * (-(value * value) + 1.0)))

    def __truediv__(self, constant: Any) -> Taped:
        number = isinstance(constant, int | float | np.ndarray | np.generic)
        return self * (self.computed(constant, 0) if number else constant).reciprocal()

    # --- the operations that are more than one operator

    def computed(self, constant: Any, roundings: float) -> Any:
        return self.value.computed(constant, roundings)

    def finite(self) -> Taped:
        hidden = np.equal(self.value, -np.inf)
        return Taped(self.value.finite(), (self, lambda adjoint: adjoint.without(hidden)))

    def without(self, hidden: NDArray[np.bool_]) -> Taped:
        return Taped(self.value.without(hidden), (self, lambda adjoint: adjoint.without(hidden)))

    @staticmethod
    def linear(parts: tuple[Taped, ...], weight: Taped, bias: Taped | None) -> Taped:
        inner = tuple(part.value for part in parts)
        out = type(inner[0]).linear(inner, weight.value, None if bias is None else bias.value)
        ends = np.cumsum([part.shape[-1] for part in parts])
        parents: list[tuple[Taped, Pull]] = []
        for part, end in zip(parts, ends, strict=True):
            parents += _pulls_of_part(part, weight, slice(int(end) - part.shape[-1], int(end)))
        if bias is not None:
            parents.append((bias, lambda adjoint: _reduced(adjoint.as_output(), bias.shape)))
        return Taped(out, *parents)

    @staticmethod
    def products(terms: tuple[tuple[Taped, ...], ...]) -> Taped:
        inner = tuple(tuple(x.value for x in term) for term in terms)
        out = operations(inner[0][-1]).products(inner)
        return Taped(out, *(pair for term in terms for pair in zip(term, _ways_back(term, out), strict=True)))

    def normalise(self) -> Taped:
        unit = self.value.normalise()

        def pull(adjoint: Any) -> Any:
            along = unit * (unit * adjoint).sum(-1)[..., None]
            return (adjoint - along) * self.value.inverse_length()

        return Taped(unit, (self, pull))

    def inverse_length(self) -> Taped:
        value = self.value.inverse_length()
        return Taped(value, (self, lambda adjoint: -(self.value.normalise() * (value * value * adjoint))))

    def softmax(self, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Taped:
        weights = self.value.softmax(visible, fully_masked_rows)
        return Taped(weights, (self, lambda adjoint: weights.scores_gradient(adjoint)))

    def for_difference(self, factor: Taped | None = None) -> Taped:
        made = self.value.for_difference(None if factor is None else factor.value)
        return Taped(made, (self, lambda adjoint: adjoint))

    def difference_sum(self, factor: Taped, other: Taped, values: Taped) -> Taped:
        r"""Return $P V - \lambda (Q V)$.

        The gradient of $\lambda$ is $-\sum_{ij} Q_{ij} \bar P_{ij}$, or $-\sum_{iv} \bar O_{iv} (Q V)_{iv}$. The closed
        form of a row's mean holds for either way.
        """
        weights = other.for_difference(factor)
        plain = weights @ values

        def pull(adjoint: Any) -> Any:
            of_weights = weights.value.incoming(adjoint, values.value, plain.value)
            return _reduced(weights.value.mean(of_weights), factor.shape)

        product = Taped(plain.value * factor.value, (plain, lambda adjoint: adjoint * factor.value), (factor, pull))
        return self.for_difference() @ values - product

    def difference(self, factor: Taped, other: Taped) -> Taped:
        return Taped(self.value.difference(factor.value, other.value))  # gradients are those of the output

    # --- what the way back needs of weights

    def incoming(self, adjoint: Taped, values: Any, out: Taped) -> Taped:
        if isinstance(values, tuple):
            term = (adjoint, *(x.swapaxes(-1, -2) for x in reversed(values)))
            value = self.value.incoming(adjoint.value, tuple(x.value for x in values), out.value)
            return Taped(value, *zip(term, _ways_back(term, value), strict=True))
        value = self.value.incoming(adjoint.value, values.value, out.value)
        back = (adjoint, lambda second: _reduced(second @ values.value, adjoint.shape))
        on = (values, lambda second: _reduced(second.swapaxes(-1, -2) @ adjoint.value, values.shape))
        return Taped(value, back, on)

    def mean(self, x: Taped) -> Taped:
        weights, other = self.value, x.value
        to_weights, to_x = (lambda adjoint: adjoint * other), (lambda adjoint: adjoint * weights)
        return Taped(weights.mean(other), (self, to_weights), (x, to_x))

    def scores_gradient(self, adjoint: Taped) -> Taped:
        return self * (adjoint - self.mean(adjoint))


def gradients(outputs: Sequence[tuple[Taped, Any]], leaves: Sequence[Taped]) -> list[Any]:
    """Return the gradient of the sum of <upstream, output> for each leaf, as inner arrays; None where there is none.

    outputs are pairs (output, upstream); an upstream is an inner array of the output's shape.
    """
    waiting: dict[int, Taped] = {}
    terms: dict[int, list[Any]] = {}
    for output, upstream in outputs:
        waiting[output.number] = output
        terms.setdefault(output.number, []).append(upstream)
    found = {}
    wanted = {leaf.number for leaf in leaves}
    while waiting:
        node = waiting.pop(max(waiting))  # whatever was computed from it came later, and has been seen
        adjoints = terms.pop(node.number)
        adjoint = adjoints[0].total(adjoints) if len(adjoints) > 1 else adjoints[0]
        if node.number in wanted:
            found[node.number] = adjoint
        for parent, pull in node.parents:
            waiting[parent.number] = parent
            terms.setdefault(parent.number, []).append(pull(adjoint))
    return [found.get(leaf.number) for leaf in leaves]


def _weighs(x: Any) -> bool:
    """Whether an array is a softmax, or a tape over one."""
    return _weighs(x.value) if isinstance(x, Taped) else isinstance(x, Softmax)


def _ways_back(term: tuple[Taped, ...], out: Any) -> list[Pull]:
    r"""Return the ways back from a product to its factors: of $A B C$, $\bar B = A^\top \bar O C^\top$.

    Factors are tensors in the case's dtype, and so is what each batch element and head gives to the gradient of one
    that they share.
    """
    inner = [x.value for x in term]

    def pull(at: int) -> Pull:
        def back(adjoint: Any) -> Any:
            if at == 0 and _weighs(inner[0]):
                return inner[0].incoming(adjoint, tuple(inner[1:]), out)
            before, after = ([x.swapaxes(-1, -2) for x in reversed(some)] for some in (inner[:at], inner[at + 1 :]))
            made = operations(adjoint).products(((*before, adjoint, *after),))
            return _reduced(made.as_output(), term[at].shape)

        return back

    return [pull(at) for at in range(len(term))]


def _inner(x: Any) -> Any:
    return x.value if isinstance(x, Taped) else x


def _reducing(x: Taped) -> Pull:
    return lambda adjoint: _reduced(adjoint, x.shape)


def _reduced(x: Any, shape: tuple[int, ...]) -> Any:
    """Return the sum over the axes along which an array of this shape was broadcast: one sum, whatever their number."""
    if x.shape == shape:
        return x
    extra = len(x.shape) - len(shape)
    gone = [*range(extra), *(axis + extra for axis, n in enumerate(shape) if n == 1 and x.shape[axis + extra] != 1)]
    stay = [axis for axis in range(len(x.shape)) if axis not in gone]
    lengths = [x.shape[axis] for axis in (*stay, *gone)]
    moved = x.transpose(*stay, *gone).reshape(*lengths[: len(stay)], math.prod(lengths[len(stay) :]))
    return moved.sum(-1).reshape(*shape)


def _folded(x: Any) -> Any:
    """(..., L, D) -> (N, D)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _over_batch(left: Any, right: Any, *, layer: bool = False) -> Any:
    """(..., L, I), (..., L, O) -> (I, O), the sum of left^T right; of a layer it is stored in the case's dtype."""
    whole = _folded(left).swapaxes(-1, -2) @ _folded(right)
    return whole.in_parts(left, right, layer)


def _pulls_of_part(part: Taped, weight: Taped, columns: slice) -> list[tuple[Taped, Pull]]:
    """Return the ways back from a layer's output, a tensor in the case's dtype, to one part of its input and weight."""

    def of_part(adjoint: Any) -> Any:
        return _reduced(adjoint.as_output(), (*part.shape[:-1], adjoint.shape[-1]))

    def to_part(adjoint: Any) -> Any:
        return (of_part(adjoint) @ weight.value[:, columns]).as_output()

    def to_weight(adjoint: Any) -> Any:
        return _over_batch(of_part(adjoint), part.value, layer=True).scatter((slice(None), columns), weight.shape)

    return [(part, to_part), (weight, to_weight)]
