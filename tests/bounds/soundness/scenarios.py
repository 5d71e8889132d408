"""Every operation of the arrays that carry bounds, at inputs where an implementation can nearly reach the bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_harness.bounds import Model, Tracked
from attention_harness.bounds.tape import Taped, gradients
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DType
from attention_harness.reference import core
from tests.bounds.soundness.adversary import Adversary
from tests.bounds.soundness.simulated import Simulated

COARSE = DType("coarse", 16, 8, -126, 1e38, "", "")
FINE = DType("fine", 32, 16, -126, 1e38, "", "")
FINEST = DType("finest", 32, 40, -126, 1e38, "", "")
SHORT = DType("short", 16, 16, -4, 1e38, "", "")  # numbers below 1/16 are subnormal

ONE_FORMAT = Model(FINE, FINE, FINE, FINE, False, False, 1024, 1.0)
EAGER = Model(COARSE, FINE, COARSE, COARSE, False, False, 16, 2.0)
FUSED = Model(COARSE, FINE, FINE, FINE, False, False, 16, 2.0, fused=True)
SUBNORMAL = Model(SHORT, SHORT, SHORT, SHORT, False, False, 1024, 1.0)
STORED = replace(SUBNORMAL, acc=FINEST)
VANISHING = replace(ONE_FORMAT, acc=replace(FINE, least_exponent=-12), probabilities=replace(FINE, least_exponent=-12))
MODELS = {
    "one format": ONE_FORMAT,
    "eager": EAGER,
    "fused": FUSED,
    "split": replace(FUSED, split_keys=True),
    "scaled": replace(EAGER, scaled_inputs=True),
    "partial": replace(EAGER, gradient_block=3),
    "subnormal": SUBNORMAL,
    "bfloat16": Model.of(Arithmetic(), "bfloat16"),
    "float16 alone": Model.of(Arithmetic(accumulator="float16"), "float16"),
}
"""Declared arithmetics on coarse formats, and on two that implementations have."""


@dataclass(frozen=True)
class Leaf:
    """An input: exact numbers, how far an implementation's may be from them, and in which direction that hurts.

    parameter: a learned tensor, which every implementation has exactly.
    """

    value: Any
    bound: Any = 0.0
    sense: Any = 1.0
    parameter: bool = False

    def __post_init__(self) -> None:
        for name in ("value", "bound", "sense"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))

    def tracked(self, model: Model) -> Tracked:
        """Return the array that carries the bound."""
        if not np.any(self.bound):
            return Tracked(model, self.value)
        zeros = np.zeros(self.value.shape)
        return Tracked(model, self.value, self.bound + zeros, zeros)

    def simulated(self, model: Model, adversary: Adversary) -> Simulated:
        """Return what the implementation holds, as far off as it may be."""
        off = self.bound * adversary.direction(self.value.shape, self.sense)
        return Simulated(model, adversary, self.value + off, exact=not np.any(self.bound))


@dataclass(frozen=True)
class Scenario:
    """An operation at inputs where its bound is nearly reached when every rounding goes up.

    run       from arrays to the array that the operation returns
    upstream  what its gradient is asked with; None where there is none
    also      further inputs: places where another term of the bound decides, with their model
    """

    run: Callable[..., Any]
    leaves: Sequence[Leaf]
    model: Model = ONE_FORMAT
    upstream: Leaf | None = None
    also: Sequence[tuple[Sequence[Leaf], Model]] = ()


def value_ratio(run: Callable[..., Any], leaves: Sequence[Leaf], model: Model, adversary: Adversary) -> float:
    """Return the largest error of the operation's result over its bound."""
    tracked = run(*(leaf.tracked(model) for leaf in leaves))
    held = run(*(leaf.simulated(model, adversary) for leaf in leaves))
    return ratio(tracked, held)


def gradient_ratio(
    run: Callable[..., Any], leaves: Sequence[Leaf], upstream: Leaf, model: Model, adversary: Adversary
) -> float:
    """Return the largest error of a gradient of <upstream, result> over its bound."""

    def found(arrays: Sequence[Any], adjoint: Any) -> list[Any]:
        taped = [Taped(array) for array in arrays]
        return gradients([(run(*taped), adjoint)], taped)

    tracked = found([leaf.tracked(model) for leaf in leaves], upstream.tracked(model))
    held = found([leaf.simulated(model, adversary) for leaf in leaves], upstream.simulated(model, adversary))
    return max(ratio(one, other) for one, other in zip(tracked, held, strict=True) if one is not None)


def ratio(tracked: Any, simulated: Any) -> float:
    """Return the largest error of what an implementation holds over its bound."""
    held = simulated.held if isinstance(simulated, Simulated) else simulated.as_output().held
    assert tracked.shape == held.shape
    error = np.maximum(np.abs(held - tracked.value) - 2.0**-44 * np.abs(tracked.value), 0.0)
    bound = np.broadcast_to(tracked.bound, tracked.shape)
    return float(np.divide(error, bound, out=np.where(error > 0, np.inf, 0.0), where=bound > 0).max(initial=0.0))


# --- inputs


def decaying(n: int) -> Any:
    """Return a one and tiny numbers: every partial sum that begins with the one is rounded as the whole is."""
    return np.where(np.arange(n) == 0, 1.0, 2.0**-12)


def everything(scores: Any) -> Any:
    """Return that every key is seen."""
    return np.ones(scores.shape, bool)


def softmax(scores: Any) -> Any:
    """Return the softmax over all keys."""
    return core.softmax(scores, everything(scores))


def hidden(scores: Any) -> Any:
    """Return the weights of rows that see no key, and are the mean of the values."""
    return core.softmax(scores, ~everything(scores), "mean")


N = 64
ONES = np.ones((3, 4))
LONG = decaying(N)
OFF = 2.0**-6  # an error of an input that decides alone
UNSURE = Leaf(ONES, OFF)
UP = Leaf(ONES, OFF)
TWO = Leaf([[[-6.0, 0.0]]], OFF, [1.0, -1.0])
"""Scores of which the smaller is too high and the larger too low."""
EVEN = Leaf([[[0.0, 0.0]]], OFF, [1.0, -1.0])
APART = Leaf([[[1.0], [-1.0]]])
HALVES = Leaf([[[0.5, 0.5]]])
"""Scores that weigh one half each, and not exactly, as scores of 0 would."""
BOTH = Leaf([[[1.0], [1.0]]])
PLACED = np.array([[True, False, False, False]] * 3)


def _incoming(scores: Any, adjoint: Any, values: Any) -> Any:
    weights = softmax(scores)
    return weights.incoming(adjoint, values, weights @ values)


def moved(run: Callable[[Any], Any], like: Any = ONES, upstream: Any = None) -> Scenario:
    """Return the scenario of an operation that rounds nothing: what was off before is as far off after."""
    shape = run(Tracked(ONE_FORMAT, np.asarray(like))).shape if upstream is None else upstream
    return Scenario(run, [Leaf(like, OFF)], upstream=Leaf(np.ones(shape), OFF))


OPERATIONS: dict[str, Scenario] = {
    # moves
    "__getitem__": moved(lambda x: x[:, 1:3]),
    "swapaxes": moved(lambda x: x.swapaxes(0, 1)),
    "reshape": moved(lambda x: x.reshape(2, 6)),
    "transpose": moved(lambda x: x.transpose(1, 0)),
    "expand": moved(lambda x: x.expand((3, 4)), np.ones((1, 4))),
    "repeat": moved(lambda x: x.repeat(2, axis=0)),
    "beside": Scenario(
        lambda x, column: x.beside(column), [UNSURE, Leaf(ONES[:, :1], OFF)], upstream=Leaf(np.ones((3, 5)), OFF)
    ),
    "picked": Scenario(
        lambda table: table.picked(np.array([[0, 1], [1, 2]])), [UNSURE], upstream=Leaf(np.ones((4, 2, 2)), OFF)
    ),
    "scatter": moved(lambda x: x.scatter((slice(0, 3), slice(1, 5)), (4, 6))),
    "without": moved(lambda x: x.without(PLACED)),
    "finite": moved(lambda x: x.finite()),
    "__neg__": moved(lambda x: -x),
    "as_output": Scenario(lambda x: x.as_output(), [Leaf(ONES)], replace(ONE_FORMAT, step=COARSE), UP),
    # arithmetic
    "__add__": Scenario(lambda a, b: a + b, [UNSURE, UNSURE], upstream=UP),
    "__radd__": Scenario(lambda b: ONES + b, [UNSURE], upstream=UP),
    "__sub__": Scenario(lambda a, b: a - b, [Leaf(2 * ONES, OFF), Leaf(ONES, OFF, -1.0)], upstream=UP),
    "__mul__": Scenario(
        lambda a, b: a * b,
        [UNSURE, UNSURE],
        upstream=UP,
        also=[([Leaf(ONES), Leaf(ONES)], ONE_FORMAT), ([Leaf(2.0**-9 * ONES), Leaf(2.0**-9 * ONES)], SUBNORMAL)],
    ),
    "__rmul__": Scenario(lambda b: 3 * ONES * b, [UNSURE], upstream=UP),
    "__truediv__": Scenario(lambda a: a / 30.0, [Leaf(ONES)], upstream=UP),
    "total": Scenario(
        lambda *terms: terms[0].total(terms), [Leaf(x * ONES) for x in LONG[:16]], replace(ONE_FORMAT), UP
    ),
    "sum": Scenario(lambda x: x.sum(-1), [Leaf(LONG[None])], upstream=Leaf([1.0], OFF), also=[([UNSURE], ONE_FORMAT)]),
    "__matmul__": Scenario(
        lambda a, b: a @ b,
        [Leaf(LONG[None]), Leaf(LONG[:, None])],
        upstream=Leaf([[1.0]], OFF),
        also=[
            ([Leaf(LONG[None], OFF), Leaf(LONG[:, None], OFF)], ONE_FORMAT),
            ([Leaf([[1.0]]), Leaf([[1.0]])], replace(EAGER, scaled_inputs=True)),
            ([Leaf(LONG[None]), Leaf(LONG[:, None])], replace(EAGER, partial=4)),
            ([Leaf(np.full((1, N), 2.0**-3)), Leaf(np.full((N, 1), 0.49))], SUBNORMAL),
        ],
    ),
    "in_parts": Scenario(
        lambda a, b: (a.reshape(16, 4).swapaxes(-1, -2) @ b.reshape(16, 4)).in_parts(
            *(x.reshape(4, 4, 4) for x in (a, b)), layer=True
        ),
        [Leaf(2.0**-7 * np.ones(N)), Leaf(2.0**-7 * np.ones(N))],
        STORED,
        upstream=Leaf(np.zeros((4, 4)), OFF),
        also=[([Leaf(np.ones(N)), Leaf(np.ones(N))], replace(EAGER, acc=FINEST))],
    ),
    # the same product in another order
    "scaled after the sum": Scenario(
        lambda a, constant, b: (a * constant) @ b,
        [Leaf([[2.0**-9]]), Leaf(0.5), Leaf([[2.0**-9]])],
        STORED,
    ),
    "scale folded into a subnormal factor": Scenario(
        lambda a, b, constant: (a @ b) * constant,
        [Leaf([[2.0**-9] * 2]), Leaf([[2.0**9]] * 2), Leaf(0.5)],
        replace(STORED, scaled_inputs=True),
    ),
    "three factors": Scenario(
        lambda a, b, c: a * b * c, [Leaf(2.0**-9 * ONES), Leaf(64 * ONES), Leaf(2.0**-9 * ONES)], SUBNORMAL
    ),
    "three factors, two of them through a matrix product": Scenario(
        lambda a, b, c: (a @ b) * c, [Leaf([[2.0**-9]]), Leaf([[64.0]]), Leaf([[2.0**-9]])], STORED
    ),
    # functions
    "tanh": Scenario(np.tanh, [Leaf([-1.0], OFF)], upstream=Leaf([1.0], OFF), also=[([Leaf([4.0])], ONE_FORMAT)]),
    "sin": Scenario(np.sin, [Leaf([0.0], OFF)], also=[([Leaf([1.0])], ONE_FORMAT)]),
    "cos": Scenario(np.cos, [Leaf([-np.pi / 2], OFF)], also=[([Leaf([0.0])], ONE_FORMAT)]),
    "exp": Scenario(np.exp, [Leaf([0.0], OFF)], upstream=Leaf([1.0], OFF), also=[([Leaf([-7.0])], VANISHING)]),
    # one position after the other
    "alike": moved(lambda x: x.alike(x)),
    "wide": moved(lambda x: x.wide()),
    "narrow": Scenario(lambda x: x.wide().narrow(x), [Leaf(ONES)], replace(ONE_FORMAT, acc=FINE), UP),
    "positions": moved(lambda x: x.positions()[1]),
    "joined": moved(lambda x: x.joined([x, x[:2]])),
    "corrected": Scenario(
        lambda state, key, value, rate: state.corrected(key, value, rate),
        [Leaf([[1.0]], OFF), Leaf([[2.0**-9]]), Leaf([[2.0**-9]]), Leaf([[0.5]])],
        upstream=Leaf([[1.0]], OFF),
        also=[([Leaf([[0.0]]), Leaf([[1.0]]), Leaf([[1.0]]), Leaf([[0.75]])], ONE_FORMAT)],
    ),
    # more than one operator
    "computed": Scenario(lambda x: x.computed(np.float64(0.3), 4), [Leaf([1.0])]),
    "reciprocal": Scenario(lambda x: x.reciprocal(), [Leaf([0.3], 2.0**-6, -1.0)], also=[([Leaf([0.3])], ONE_FORMAT)]),
    "linear": Scenario(
        lambda x, weight, bias: core.linear(x, weight, bias),
        [Leaf(LONG[None]), Leaf(LONG[None], parameter=True), Leaf([2.0**-12], parameter=True)],
        upstream=Leaf([[1.0]], OFF),
        also=[([Leaf(LONG[None], OFF), Leaf(LONG[None]), Leaf([2.0**-12])], ONE_FORMAT)],
    ),
    "for_difference of subnormal weights": Scenario(
        lambda s, v: softmax(s).for_difference() @ v, [Leaf([[[-6.0, 0.0]]]), BOTH], STORED, upstream=Leaf([[[1.0]]])
    ),
    "products": Scenario(
        lambda a, b, c: core.products((a, b, c)),
        [Leaf([[1.0]]), Leaf(LONG[None]), Leaf(LONG[:, None])],
        upstream=Leaf([[1.0]], OFF),
        also=[([Leaf([[1.0]], OFF), Leaf(LONG[None], OFF), Leaf(LONG[:, None], OFF)], ONE_FORMAT)],
    ),
    "products beside each other": Scenario(
        lambda a, b, c, d: core.products((a, b), (c, d)),
        [Leaf(LONG[None]), Leaf(LONG[:, None]), Leaf(2.0**-12 * ONES[:1]), Leaf(ONES[:1].T)],
        upstream=Leaf([[1.0]], OFF),
    ),
    "normalise": Scenario(
        core.normalise,
        [Leaf(LONG[None])],
        upstream=Leaf([[1.0] + [0.0] * (N - 1)], [[0.0, OFF] + [0.0] * (N - 2)]),
        also=[([Leaf([[2.0**-10, 1.0]], [[OFF, 0.0]])], ONE_FORMAT)],
    ),
    "inverse_length": Scenario(
        lambda x: x.inverse_length(),
        [Leaf(LONG[None])],
        upstream=Leaf([[1.0]], OFF),
        also=[([Leaf([[1.0, 2.0**-12]], [[OFF, 0.0]], -1.0)], ONE_FORMAT)],
    ),
    # the softmax and what is made of it
    "softmax": Scenario(softmax, [TWO], upstream=Leaf([[[1.0, 0.0]]], OFF, [1.0, -1.0])),
    "Weights.__matmul__": Scenario(
        lambda scores, values: softmax(scores) @ values,
        [EVEN, APART],
        upstream=Leaf([[[1.0]]], OFF),
        also=[
            ([Leaf([[np.where(np.arange(200) == 0, 0.0, -12.0)]]), Leaf(np.ones((1, 200, 1)))], ONE_FORMAT),
            ([Leaf([[[0.0, 0.0]]]), Leaf([[[1.0], [1.0]]], OFF)], ONE_FORMAT),
            ([Leaf([[[0.0, *[-8.333] * 20]]]), Leaf([[[0.0], *[[1.0]] * 20]])], VANISHING),
        ],
    ),
    "Weights.__matmul__ of hidden keys": Scenario(
        lambda scores, values: hidden(scores) @ values,
        [Leaf([[[0.0] * 8]]), Leaf(np.full((1, 8, 1), 7.9 * 2.0**-12))],
        replace(VANISHING, io=VANISHING.probabilities),
        also=[([Leaf([[[0.0, 0.0]]]), Leaf([[[1.0], [1.0]]], OFF)], ONE_FORMAT)],
    ),
    "Weights.__mul__": Scenario(lambda scores: softmax(scores) * ONES[:1, None, :2], [TWO]),
    "Weights.swapaxes": Scenario(lambda scores: softmax(scores).swapaxes(-1, -2), [TWO]),
    "of_keys": Scenario(lambda scores: softmax(scores).of_keys(1), [TWO], upstream=Leaf([[[1.0]]], OFF)),
    "Weights.as_output": Scenario(lambda scores: softmax(scores).as_output(), [TWO]),
    "for_difference": Scenario(
        lambda scores, values: softmax(scores).for_difference() @ values,
        [EVEN, APART],
        upstream=Leaf([[[1.0]]], OFF),
        also=[([HALVES, BOTH], replace(EAGER, acc=FINEST))],
    ),
    "difference": Scenario(
        lambda scores, others, factor: softmax(scores).difference(factor, softmax(others)),
        [HALVES, HALVES, Leaf(0.75, OFF, -1.0)],
        also=[([HALVES, HALVES, Leaf(1.0)], replace(EAGER, acc=FINEST))],
    ),
    "difference_sum": Scenario(
        lambda scores, others, factor, values: softmax(scores).difference_sum(factor, softmax(others), values),
        [HALVES, HALVES, Leaf(0.75, OFF, -1.0), BOTH],
        upstream=Leaf([[[1.0]]], OFF),
    ),
    "incoming": Scenario(_incoming, [Leaf([[[0.0]]]), Leaf([LONG[None]]), Leaf([LONG[None]])]),
    "mean": Scenario(lambda scores, x: softmax(scores).mean(x), [EVEN, Leaf([[[1.0, -1.0]]])]),
    "scores_gradient": Scenario(
        lambda scores, adjoint: softmax(scores).scores_gradient(adjoint),
        [Leaf([[[-6.0, 0.0]]]), Leaf([[[0.0, 1.0]]], OFF, [1.0, -1.0])],
    ),
}
"""By the name of the method, of `Weights` where others have one of that name too.

The gradient of an operation, through a tape, begins with an upstream gradient that is off.
"""
