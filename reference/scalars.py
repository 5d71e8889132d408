"""What the formulas are made of once more, scalar by scalar in mpmath at 50 digits.

A mechanism states its formula twice: `evaluate` in float64 arrays, and `exact` in these scalars. Nothing here comes
from `core` or from NumPy's arithmetic: arrays are only tables of numbers, and a fully masked row is a sum of no terms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DIGITS = 50

Index = tuple[int, ...]
Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an option does to one pair of query and key, whose place in the scores is `index`.

    score   (score, form or tensor, index, shape of the scores, all options) -> score
    beside  (tensor, index of the row) -> a score in the row's denominator without a key, or None
    sees    (form or tensor, index, shape of the scores, all options) -> whether the query may see the key
    """

    score: Callable[[Any, Any, Index, Index, Options], Any] = lambda score, value, index, shape, options: score
    beside: Callable[[Any, Index], Any] = lambda value, row: None
    sees: Callable[[Any, Index, Index, Options], bool] = lambda value, index, shape, options: True


@functools.cache
def context() -> Any:
    """Return mpmath at 50 digits, imported when it is first needed."""
    import mpmath

    made = mpmath.mp.clone()
    made.dps = DIGITS
    return made


def table(shape: Index, entry: Callable[..., Any]) -> Any:
    """Return the table of entry(*index)."""
    made = np.empty(shape, object)
    for index in np.ndindex(shape):
        made[index] = entry(*index)
    return made


def numbers(array: Any) -> Any:
    """Return a float array as a table of the very same numbers."""
    return table(array.shape, lambda *index: context().mpf(float(array[index])))


class Scalars:
    """One problem as tables of numbers of 50 digits, with the operations that the formulas share.

    x      tensors by name
    o      options by name, with choices and settings
    rules  what each option does to a pair of query and key, in the order in which the options act
    """

    def __init__(self, tensors: Mapping[str, Any], options: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
        self.mp = context()
        self.x = {name: numbers(array) for name, array in tensors.items()}
        self.o = options
        self.rules = [(rule, options[name]) for name, rule in rules.items() if name in options]

    def dot(self, a: Any, b: Any) -> Any:
        """Return the inner product of two vectors."""
        return self.mp.fdot(a, b)

    def scaled(self, width: int) -> Callable[[Any, Any], Any]:
        """Return the inner product times the scale: the option, or one over the square root of the width."""
        factor = self.mp.mpf(self.o["scale"]) if "scale" in self.o else 1 / self.mp.sqrt(width)
        return lambda q, k: self.dot(q, k) * factor

    def tanh_sum(self, features: Any, weights: Any) -> Any:
        """Return the weighted sum of the features' tanh."""
        return self.mp.fsum(weight * self.mp.tanh(feature) for feature, weight in zip(features, weights, strict=True))

    def layer(self, x: Any, weight: Any, bias: Any = None) -> Any:
        """Return W x + b for every vector of x."""

        def entry(*index: int) -> Any:
            *vector, unit = index
            return self.dot(x[tuple(vector)], weight[unit]) + (0 if bias is None else bias[unit])

        return table((*x.shape[:-1], weight.shape[0]), entry)

    def softmax(self, score: Callable[..., Any], shape: Index) -> Any:
        """Return exp(score) over the sum of those that are seen, each score as the options leave it."""

        def mass(*index: int) -> Any:
            if not all(rule.sees(value, index, shape, self.o) for rule, value in self.rules):
                return self.mp.zero
            found = score(*index)
            for rule, value in self.rules:
                found = rule.score(found, value, index, shape, self.o)
            return self.mp.exp(found)

        masses = table(shape, mass)

        def total(*row: int) -> Any:
            beside = (rule.beside(value, row) for rule, value in self.rules)
            return self.mp.fsum([*masses[row], *(self.mp.exp(one) for one in beside if one is not None)])

        totals = table(shape[:-1], total)
        return table(shape, lambda *index: masses[index] / totals[index[:-1]] if masses[index] else self.mp.zero)

    def attend(self, score: Callable[[Any, Any], Any], q: Any, k: Any, v: Any) -> tuple[Any, Any]:
        """Return output and weights for score(query vector, key vector); the heads of q share those of k and v."""
        group = q.shape[-3] // k.shape[-3] if q.ndim == 4 else 1  # three axes: there are no heads

        def key_head(batch: int, *head: int) -> Index:
            return (batch, *(one // group for one in head))

        pairs = (*q.shape[:-1], k.shape[-2])
        weights = self.softmax(lambda *at: score(q[at[:-1]], k[(*key_head(*at[:-2]), at[-1])]), pairs)

        def entry(*at: int) -> Any:
            return self.dot(weights[at[:-1]], v[(*key_head(*at[:-2]), slice(None), at[-1])])

        return table((*q.shape[:-1], v.shape[-1]), entry), weights

    def pairwise(self, score: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
        """Return output and weights of a formula on `query`, `key` and `value` as they are."""
        return self.attend(score, self.x["query"], self.x["key"], self.x["value"])
