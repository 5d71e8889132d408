r"""How small an error can a case see? The exact result is perturbed, and nothing else, until the judge accuses it.

    amplitude    the output times $1 + \epsilon$
    temperature  the scores times $1 + \epsilon$
    weight       in each row $\epsilon$ is added to the log-weight of one visible key: the one with the largest
                 $p (1 - p)$, on which the row depends most
    dropped      in each row the heaviest key of weight $t$ or less is dropped, and the others renormalised; the
                 threshold is the largest weight that was dropped so

The smallest error that is accused is found by bisection of its logarithm, between $2^{-60}$ and 1. An implementation's
own rounding comes on top, so that a real mutant is seen somewhat earlier or later: it is the case that is measured, by
its error bound alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import is_uninformative, judge
from attention_harness.bounds.perturbed import Change, evaluate
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.checks import accuracy
from attention_harness.checks.expected import bound_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.model.mutation_results import KINDS, Sensitivity
from attention_harness.reference import core
from attention_harness.reference.arrays import Words
from attention_harness.registry import mechanisms

Array = NDArray[np.float64]

USEFUL = 2.0**-3
"""A case that misses an error of an eighth is weak. One rounding explains as much in no format: the coarsest, bfloat16,
rounds to 1/256, and an eighth is 32 times that. A threshold above it comes from the problem."""

_DEFAULT = Arithmetic()
_LEAST, _STEP = -60.0, 0.25  # of the bisection, in powers of two
_NO_OUTPUT, _NO_KEY, _ONE_KEY = "it has no output", "no query sees a key", "no query sees two keys"
INHERENT = (_NO_OUTPUT, _NO_KEY, _ONE_KEY)
"""Reasons that are no defect: such a case is about lengths and masks, not about weights."""


def sensitivity(case: Case, arithmetic: Arithmetic = _DEFAULT) -> Sensitivity:
    """Return the smallest errors that a case sees under a declared arithmetic."""
    problem = _Problem(case, arithmetic)
    found: dict[str, float | None] = dict.fromkeys(KINDS)
    found["amplitude"] = smallest(lambda eps: problem.accuses(problem.error_bound.value * (1 + eps)))
    if problem.keys >= 2:
        found["temperature"] = smallest(lambda eps: problem.accuses(problem.output(temperature(eps))))
        found["weight"] = smallest(lambda eps: problem.accuses(problem.output(weight(eps))))
        threshold = smallest(lambda eps: problem.accuses(problem.output(dropped(eps))))
        found["dropped"] = None if threshold is None else problem.heaviest(threshold)
    vacuous = is_uninformative(problem.error_bound, accuracy.is_degenerate(case))
    return Sensitivity(
        case.id, case.dtype, case.content, problem.keys, **found, weak=problem.why_weak(found), uninformative=vacuous
    )


def smallest(accused: Callable[[float], bool]) -> float | None:
    """Return the smallest eps in [2^-60, 1] that is accused, to a quarter of an octave; None when even 1 is not."""
    if not accused(1.0):
        return None
    low, high = _LEAST, 0.0
    if accused(2.0**low):
        return 2.0**low
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if accused(2.0**middle) else (middle, high)
    return 2.0**high


class _Problem:
    """A case's exact result, its error bound, and how to compute it with an error."""

    def __init__(self, case: Case, arithmetic: Arithmetic) -> None:
        self.case = case
        self.mechanism = mechanisms()[case.mechanism]
        self.error_bound: ErrorBound = bound_of(case, arithmetic, "zero")[0]
        self.tensors = inputs.exact(inputs.tensors(case))
        self.arguments = inputs.arguments(case)
        self.visible = np.zeros((0, 0), bool)
        self.weights: Array | None = None
        if self.mechanism.scores:
            self.output(self._remembering)

    def _remembering(self, scores: Array, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Array:
        weights = core.softmax(scores, visible, fully_masked_rows)
        before = () if self.weights is None else tuple(self.weights)
        self.visible, self.weights = visible, np.stack([*before, weights])  # of every map that the formula has
        return weights

    @property
    def keys(self) -> int:
        """The most keys that a query sees."""
        return int(self.visible.sum(-1).max(initial=0))

    def output(self, change: Change) -> Array:
        """Return the exact output, computed with `change` instead of the softmax."""
        return evaluate(self.mechanism.evaluate, self.tensors, self.arguments, change)

    def accuses(self, output: Array) -> bool:
        """Return whether the judge accuses an output."""
        return bool(judge(output, self.error_bound, degenerate=accuracy.is_degenerate(self.case)).reason)

    def heaviest(self, threshold: float) -> float:
        """Return the largest weight that is dropped at a threshold."""
        assert self.weights is not None
        return float(self.weights[chosen_keys(self.weights, self.visible, threshold)].max())

    def why_weak(self, found: dict[str, float | None]) -> str:
        """Return why the case sees nothing useful, or ""."""
        kinds = KINDS[1:] if self.keys >= 2 else KINDS[:1]
        if any(eps is not None and eps <= USEFUL for eps in (found[kind] for kind in kinds)):
            return ""
        if self.error_bound.value.size == 0:
            return _NO_OUTPUT
        if self.weights is None:
            return "its bound is as large as its result"
        if self.keys < 2:
            return _ONE_KEY if self.keys else _NO_KEY
        second = float((self.weights * (1 - self.weights)).max())
        if second < USEFUL * 2.0**-8:
            return f"one key decides every row: the others weigh {second:.2g} together at most"
        if self.error_bound.linear is not None and not self.error_bound.linear[self.visible.sum(-1) >= 2].any():
            return "its bound is vacuous: the scores are so large that their rounding decides the weights"
        return f"the rounding of {self.case.dtype} hides what the weights decide"


def select(case_ids: Sequence[str], tier: str) -> list[Case]:
    """Return the named cases, or those of a tier."""
    return [parse(text) for text in case_ids] or list(matrix(tier))


def measure(cases: Iterable[Case]) -> Iterator[Sensitivity]:
    """Yield the sensitivity of each case."""
    return map(sensitivity, cases)


# --- what takes the place of the softmax


def temperature(eps: float) -> Change:
    """Return the softmax of scores times 1 + eps."""
    return lambda scores, visible, fully_masked_rows: core.softmax(scores * (1 + eps), visible, fully_masked_rows)


def weight(eps: float) -> Change:
    """Return the softmax with one log-weight of each row moved by eps."""

    def change(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Array:
        p = core.softmax(scores, visible)
        moved = np.zeros_like(scores)
        if scores.shape[-1]:
            np.put_along_axis(moved, np.argmax(p * (1 - p), -1, keepdims=True), eps, -1)
        return core.softmax(scores + moved, visible, fully_masked_rows)

    return change


def dropped(threshold: float) -> Change:
    """Return the softmax without the heaviest key of weight `threshold` or less; a row's only key stays."""

    def change(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: Words) -> Array:
        return core.softmax(
            scores, visible & ~chosen_keys(core.softmax(scores, visible), visible, threshold), fully_masked_rows
        )

    return change


def chosen_keys(p: Array, visible: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """Return True at the key of each row that is dropped."""
    chosen = np.zeros(p.shape, bool)
    if p.shape[-1] == 0:
        return chosen
    light = np.where(visible & (p <= threshold) & (visible.sum(-1, keepdims=True) >= 2), p, -1.0)
    np.put_along_axis(chosen, np.argmax(light, -1, keepdims=True), True, -1)
    return chosen & (light >= 0)
