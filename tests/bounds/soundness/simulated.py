"""An implementation of a declared arithmetic whose every rounding an adversary chooses, as arrays for the formulas.

`Simulated` holds what an implementation would hold. Each operation is written out from scalar steps - products,
additions, stores - and shares nothing with the bounds but the declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attention_harness.bounds import Model
from attention_harness.model.dtypes import DType
from attention_harness.reference.arrays import Plain
from tests.bounds.soundness.adversary import Adversary, largest, nearest
from tests.bounds.soundness.simulated_softmax import SimulatedWeights


class Simulated:
    """What an implementation holds in the place of an exact array. `model` and `stored` are as in `Tracked`."""

    def __init__(self, model: Model, adversary: Adversary, held: Any, *, stored: bool = False, exact: bool = False):
        self.model, self.adversary, self.held = model, adversary, held
        self.stored, self.exact = stored, exact
        self.by_output = None
        self.factors: Any = None  # of a product: what was multiplied
        self.before: Any = None  # of a product with a constant: the array before it, and the constant
        self.sides: Any = None  # of a matrix product into whose factors a scale may be folded: the factors

    @property
    def shape(self):
        return self.held.shape

    @property
    def ndim(self):
        return self.held.ndim

    def like(self, held, **changes: Any) -> Simulated:
        return Simulated(self.model, self.adversary, held, **changes)

    def put(self, held, fmt: DType, sense: float = 1) -> Simulated:
        """Return an array stored in a format."""
        return self.like(self.adversary.store(held, fmt, sense), stored=fmt is self.model.io)

    def as_output(self) -> Simulated:
        return self if self.stored else self.put(self.held, self.model.io)

    # --- moves

    def _moved(self, move: Callable[[Any], Any]) -> Simulated:
        result = self.like(move(self.held), exact=self.exact)
        if self.before is not None:
            result.before = self.before[0]._moved(move), self.before[1]
        return result

    def __getitem__(self, index):
        return self._moved(lambda x: x[index])

    def swapaxes(self, first, second):
        return self._moved(lambda x: x.swapaxes(first, second))

    def reshape(self, *shape):
        return self._moved(lambda x: x.reshape(shape))

    def repeat(self, repeats, axis):
        return self._moved(lambda x: x.repeat(repeats, axis))

    def beside(self, column):
        held, exact = (column.held, column.exact) if isinstance(column, Simulated) else (column, True)
        joined = np.concatenate([self.held, np.broadcast_to(held, (*self.shape[:-1], 1))], -1)
        return self.like(joined, exact=self.exact and exact)

    def picked(self, rows):
        return self._moved(lambda x: np.moveaxis(x[rows], -1, -3))

    def transpose(self, *axes):
        return self._moved(lambda x: x.transpose(axes))

    def expand(self, shape):
        return self._moved(lambda x: np.broadcast_to(x, shape))

    def scatter(self, index, shape):
        whole = np.zeros(shape)
        whole[index] = self.held
        return self.like(whole)

    def without(self, hidden):
        return self._moved(lambda x: np.where(hidden, 0.0, x))

    def finite(self):
        return self._moved(lambda x: np.where(np.isneginf(x), 0.0, x))

    def __neg__(self):
        return self._moved(lambda x: -x)

    # --- arithmetic

    def _operand(self, other, sense: float = 1):
        """Return the numbers of an operand; what came from finer steps is stored in this one's first."""
        if isinstance(other, SimulatedWeights):
            return other.as_output().held
        if not isinstance(other, Simulated):
            return np.asarray(other, np.float64)
        finer = other.model.step.roundoff < self.model.step.roundoff and not other.exact
        return self.adversary.store(other.held, self.model.step, sense) if finer else other.held

    def __add__(self, other):
        return self.put(self.held + self._operand(other), self.model.step)

    __radd__ = __add__

    def __sub__(self, other):
        return self.put(self.held - self._operand(other, -1), self.model.step)

    def __mul__(self, other):
        operand, step = self._operand(other), self.model.step
        result = self.put(self.held * operand, step)
        if self.factors is not None and self.adversary.late():  # the smaller of both factors met the third one first
            a, b = np.broadcast_arrays(*self.factors)
            small, large = np.where(abs(a) > abs(b), b, a), np.where(abs(a) > abs(b), a, b)
            result = self.put(self.adversary.store(small * operand, step) * large, step)
        if self.sides is not None and operand.size == 1 and self.adversary.late():  # the constant folded into one side
            result = self.put(self._product(self.put(self.sides[0].held * operand, self.model.io), self.sides[1]), step)
        result.factors = self.held, operand
        if operand.size == 1:
            result.before = self, operand
        return result

    __rmul__ = __mul__

    def __truediv__(self, constant):
        return self * (constant if isinstance(constant, Simulated) else self.computed(constant, 0)).reciprocal()

    def reciprocal(self):
        return self.computed(1 / self.held, 0)

    def total(self, terms):
        stored = [term.as_output().held for term in terms]
        return self.like(self.adversary.added(stored, self.model.io), stored=True)

    def sum(self, axis):
        assert axis == -1
        summed = self.adversary.sum(self.held, self.model.acc)[..., 0]
        return self.like(summed, stored=True) if self.model.recurrent else self.put(summed, self.model.step)

    def __matmul__(self, other):
        if other.ndim == 1:
            return (self @ other[:, None])[..., 0]
        for one in (self, other):
            if one.before is not None and self.adversary.late():  # the constant after the sum
                plain, constant = one.before
                made = plain @ other if one is self else self @ plain
                return made.put(made.held * constant, self.model.step)
        model, a, b = self.model, self.held, other.held
        sides = (self, other) if model.scaled_inputs else None
        if model.scaled_inputs:  # a root of the scale on either side, rounded like its product
            for _ in range(2):
                a, b = self.adversary.off(a, largest(model.io)), self.adversary.off(b, largest(model.io))
        partial = max(model.partial, other.model.partial)
        made = self.adversary.dot(a, b, model.acc, partial=partial, store=model.io)
        summed = partial and partial < self.shape[-1]  # in the case's dtype, where the sum is stored already
        there = summed or model.recurrent  # each step of a recurrence is made, and stays, in the format of sums
        result = self.like(made, stored=True) if there else self.put(made, model.step)
        result.model = replace(model, partial=0)
        if self.shape[-1] == 1:
            result.factors = a, b
        result.sides = sides
        return result

    def _product(self, left, right):
        """Return the numbers of a matrix product in the accumulator."""
        return self.adversary.dot(left.held, right.held, self.model.acc)

    def in_parts(self, left, right, layer):
        fmt = self.model.io if layer else self.model.step
        if len(left.shape) == 2 or not self.adversary.late():
            return self.as_output() if layer else self
        a, b = (x.held.reshape(-1, *x.shape[-2:]) for x in (left, right))
        dot, store, acc = self.adversary.dot, self.adversary.store, self.model.acc
        parts = [store(dot(x.T, y, acc), fmt) for x, y in zip(a, b, strict=True)]
        return self.put(self.adversary.added(parts, acc), fmt) if parts else self.as_output()

    # --- functions

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        unary = {np.tanh: self.tanh, np.sin: self.sin, np.cos: self.cos, np.exp: self.exp}
        if ufunc in unary:
            return unary[ufunc]()
        if ufunc is np.equal:
            return np.equal(self.held, inputs[1])
        return {np.add: self.__add__, np.multiply: self.__mul__}[ufunc](inputs[0])

    def _function(self, x):
        return self.put(self.adversary.off(x, 2 * self.model.exp_ulp * self.model.acc.roundoff), self.model.step)

    def tanh(self):
        return self._function(np.tanh(self.held))

    def sin(self):
        return self._function(np.sin(self.held))

    def cos(self):
        return self._function(np.cos(self.held))

    def exp(self):
        unit = self.model.acc.roundoff
        argument = self.adversary.off(self.held, 2 * unit)  # of another base: a rounded constant, and the product
        off = self.adversary.off(np.exp(argument), 2 * self.model.exp_ulp * unit)
        return self.put(self.adversary.flushed(off, self.model.acc), self.model.step)

    # --- one position after the other

    def alike(self, given):
        return self.like(given, exact=True) if isinstance(given, np.ndarray) else given

    def wide(self):
        result, acc = self.like(self.held), self.model.acc
        result.model = replace(self.model, io=acc, step=acc, probabilities=acc, recurrent=True)
        return result

    def narrow(self, like):
        return like.put(self.held, like.model.io)

    def positions(self):
        return [self[..., at : at + 1, :] for at in range(self.shape[-2])]

    @staticmethod
    def joined(rows):
        return rows[0].like(np.concatenate([row.held for row in rows], -2))

    def corrected(self, key, value, rate):
        return Plain.corrected(self, key, value, rate)

    def computed(self, constant, roundings):
        value = np.asarray(constant, np.float64)
        exact = nearest(value, self.model.io) == value
        made = value
        for k in range(int(np.max(roundings, initial=0)) + 1):
            made = np.where(exact | (k > roundings), made, self.adversary.off(made, largest(self.model.acc)))
        result = self.like(made, exact=bool(exact.all()))
        result.model = replace(self.model, step=self.model.acc)
        return result

    # --- more than one operator

    @staticmethod
    def linear(parts, weight, bias):
        model, adversary, at, products = parts[0].model, parts[0].adversary, 0, []
        for part in parts:
            columns = weight.held[:, at : at + part.shape[-1]].T
            at += part.shape[-1]
            terms = [adversary.product(part.held[..., k : k + 1], columns[k], model.acc) for k in range(part.shape[-1])]
            if bias is not None and not products:
                terms.append(bias.held)
            made = adversary.added(terms, model.acc)
            products.append(adversary.store(made, model.io) if len(parts) > 1 else made)
        return parts[0].put(sum(products), model.io)

    @staticmethod
    def products(terms):
        pairs = []
        for left, middle, *right in terms:
            if right and middle.adversary.late():  # the first two of three factors first
                pairs.append(((left @ middle).as_output(), right[0]))
            else:
                pairs.append((left, (middle @ right[0]).as_output() if right else middle))
        if len(pairs) > 1 and pairs[0][1].adversary.late():  # one sum
            lefts, rights = zip(*pairs, strict=True)
            return Simulated._beside(lefts, -1) @ Simulated._beside(rights, -2)
        first, *others = [left @ right for left, right in pairs]
        return sum(others, start=first)

    @staticmethod
    def _beside(arrays, axis):
        batch = np.broadcast_shapes(*(x.shape[:-2] for x in arrays))
        held = [np.broadcast_to(x.held, (*batch, *x.shape[-2:])) for x in arrays]
        return arrays[0].like(np.concatenate(held, axis))

    def _length(self, sense: float):
        """Return the root of the sum of squares; a correct implementation scales them, so that none vanishes."""
        squares = self.adversary.relative(self.held**2, self.model.acc, sense)
        length = np.sqrt(self.adversary.sum(squares, self.model.acc, sense))
        return self.adversary.relative(length, self.model.acc, sense)

    def normalise(self):
        adversary, model = self.adversary, self.model
        length = adversary.relative(self._length(-1), model.step, -1)
        there = length > 0
        inverse = adversary.relative(np.where(there, 1 / np.where(there, length, 1.0), 0.0), model.acc)
        return self.put(adversary.relative(self.held * inverse, model.acc), model.step)

    def inverse_length(self):
        length = self.adversary.relative(self._length(-1), self.model.acc, -1)
        there = length > 0
        inverse = np.where(there, 1 / np.where(there, length, 1.0), 0.0)
        return self.put(self.adversary.relative(inverse, self.model.acc), self.model.step)

    def softmax(self, visible, fully_masked_rows):
        return SimulatedWeights(self, visible, fully_masked_rows)
