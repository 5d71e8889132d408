"""A case whose numbers a relation has changed: its arrays, the implementation's answer to them, and its error bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, error_bounds
from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import to_array, wrong_form
from attention_harness.checks.subject import Subject, prepared
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.reference.core import visible_keys
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

Array = NDArray[np.float64]
Change = Callable[[NDArray[Any], int, str], NDArray[Any]]
"""(array, axis, name of the tensor) -> the array changed along the axis."""

_LENGTHS = ("B", "Lq", "Lk", "L", "P")  # what may differ from call to call of one prepared callable


class OutOfRange(ValueError):
    """A changed problem lies outside the range of its dtype: the relation cannot be asked there."""


class WrongForm(Exception):
    """An answer that has no numbers to compare: a wrong type, shape or dtype."""


@dataclass(frozen=True)
class Problem:
    """A case and its arrays by name, in float64, bool or int64; the numbers are those of the case's dtype."""

    case: Case
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, case: Case) -> Problem:
        """Return the case's own problem."""
        return cls(case, inputs.exact(inputs.tensors(case.on("cpu"))))

    @property
    def mechanism(self) -> Mechanism:
        return mechanisms()[self.case.mechanism]

    @property
    def score_shape(self) -> tuple[int, ...]:
        return inputs.shape_of(self.mechanism.scores, self.case.sizes)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which keys each query sees, in the shape of the scores."""
        given = {name: self.arrays[name] for name in ("mask", "bias", "valid_lens") if name in self.arrays}
        return visible_keys(self.score_shape, causal=self.case.options.get("causal"), **given)

    def axes(self, name: str) -> tuple[str, ...]:
        """Return the axis letters of a tensor, "1" where it is broadcast."""
        scores = self.mechanism.scores
        form = str(self.case.options.get(name))
        if name in ("mask", "bias"):
            return {
                "full": scores,
                "batch": (scores[0], *("1" for _ in scores[1:-1]), scores[-1]),
                "head": ("1", *scores[1:]),
                "query": scores[-2:],
            }[form]
        if name == "valid_lens":
            return scores[:1] if form == "batch" else (scores[0], scores[-2])
        return next((declared.axes for declared in self.mechanism.inputs if declared.name == name), ("1",))

    def having(self, letter: str) -> list[str]:
        """Return the names of the tensors with that axis."""
        return [name for name in self.arrays if letter in self.axes(name)]

    def changed(self, **arrays: NDArray[Any]) -> Problem:
        """Return the problem with some tensors replaced."""
        return replace(self, arrays={**self.arrays, **arrays})

    def along(self, letter: str, change: Change, names: Sequence[str] = ()) -> Problem:
        """Return the problem with every tensor, or the named ones, changed along each of its axes of that letter."""
        made = {}
        for name in names or self.having(letter):
            array = self.arrays[name]
            for axis, own in enumerate(self.axes(name)):
                array = change(array, axis, name) if own == letter else array
            made[name] = array
        return self.changed(**made)

    def taken(self, letter: str, index: Sequence[int] | NDArray[np.int64]) -> Problem:
        """Return the problem with the entries of that axis picked: in another order, fewer, or some repeatedly."""
        picked = self.along(letter, lambda array, axis, _: np.take(array, np.asarray(index, np.int64), axis))
        return replace(picked, case=replace(self.case, sizes={**self.case.sizes, letter: len(index)}))


@dataclass(frozen=True)
class Answer:
    """What the implementation answered, and the bounds of a right answer's error. weights: None where it has none."""

    output: Array
    bound: Array
    weights: Array | None
    weights_bound: Array | None


def ask(subject: Subject, problem: Problem) -> Answer:
    """Return the implementation's answer to a problem, with the bounds of that problem.

    The callable that was prepared for the subject's case is called, where the contract lets it answer for other batch
    sizes and lengths; for other widths, heads, options or mechanisms it is prepared anew.
    """
    import torch

    output, weights = bounds(subject, problem)
    with torch.no_grad():
        result = callable_for(subject, problem.case)(**tensors(problem))
    pair = result if isinstance(result, tuple) else (result, None)
    form = wrong_form(pair[0], problem.case, output.value.shape, "output")
    if form:
        raise WrongForm(f"{form}; asked {problem.case.id} with numbers of its own")
    own = pair[1] if len(pair) == 2 and subject.implementation.capabilities.weights else None
    if own is not None and weights is not None:
        form = wrong_form(own, problem.case, weights.value.shape, "weights")
        if form:
            raise WrongForm(form)
        return Answer(to_array(pair[0]), output.bound, to_array(own), weights.bound)
    return Answer(to_array(pair[0]), output.bound, None, None)


def bounds(subject: Subject, problem: Problem) -> tuple[ErrorBound, ErrorBound | None]:
    """Return the error bounds of a problem's output and weights: of its own numbers, not of its case's."""
    case, known = problem.case, problem.mechanism
    capabilities = subject.implementation.capabilities
    given = {declared.name: problem.arrays[declared.name] for declared in known.inputs}
    options = {name: array for name, array in problem.arrays.items() if name not in given} | inputs.arguments(case)
    if known.scores:
        options["fully_masked_rows"] = capabilities.fully_masked_rows
    with time_account.spent(time_account.REFERENCE):
        found = error_bounds(known.evaluate, given, options, case.dtype, capabilities.arithmetic)
    if found[0].overflow:
        raise OutOfRange(f"{case.id} with the numbers of a relation: {found[0].overflow}")
    return found


def callable_for(subject: Subject, case: Case) -> Any:
    """Return the subject's callable if it must answer this case too, otherwise one prepared for it."""
    own = subject.case
    widths = [{axis: n for axis, n in one.sizes.items() if axis not in _LENGTHS} for one in (own, case)]
    if (own.mechanism, own.dtype, own.options) == (case.mechanism, case.dtype, case.options) and widths[0] == widths[1]:
        return subject.callable
    return prepared(subject.implementation, case)


def tensors(problem: Problem) -> dict[str, Any]:
    """Return the torch tensors of a problem, in its dtype, device and memory layout.

    Raises ValueError for a number that the dtype does not hold: a relation would then compare different problems.
    """
    import torch

    case = problem.case
    layout = inputs.LAYOUTS["contiguous" if case.layout == "expanded" else case.layout]
    made = {}
    for name, array in problem.arrays.items():
        exact = torch.from_numpy(np.array(array))
        tensor = exact.to(getattr(torch, case.format.torch)) if exact.is_floating_point() else exact
        if not torch.equal(tensor.to(exact.dtype).nan_to_num(), exact.nan_to_num()):
            raise ValueError(f"{case.id}: the relation's {name} is not exact in {case.dtype}")
        made[name] = layout(tensor.to(case.device))
    return made


def agree(
    one: Array, other: Array, allowed: Array, where: NDArray[np.bool_] | bool = True, what: str = "two equal answers"
) -> Judgement:
    """Return the judgement that two arrays differ by no more than allowed, element by element, where that is asked.

    Both NaN agree: a declared policy of rows that see no key may be NaN.
    """
    where = np.broadcast_to(where, one.shape)
    if not where.any():
        return Judgement(0.0)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(same, 0.0, np.abs(one - other))
    error = np.where(where, np.where(np.isnan(error), np.inf, error), 0.0)
    return _worst(error, np.broadcast_to(allowed, one.shape), one, other, what)


def within(low: Array, high: Array, output: Array, allowed: Array, where: NDArray[np.bool_], what: str) -> Judgement:
    """Return the judgement that an array lies between two others, widened by what is allowed."""
    nearest = np.clip(output, low, high)
    return agree(output, np.where(np.isnan(output), low, nearest), allowed, where, what)


def _worst(error: Array, allowed: Array, one: Array, other: Array, what: str) -> Judgement:
    with np.errstate(over="ignore"):
        error_ratio = np.divide(error, allowed, out=np.where(error > 0, np.inf, 0.0), where=allowed > 0)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    worst = float(error_ratio[at])
    if worst <= 1:
        return Judgement(worst, float(error[at]), at)
    reason = f"{what} differ by {error[at]:.3g}, their error bounds allow {allowed[at]:.3g}: "
    reason += f"{one[at]:.9g} and {other[at]:.9g}"
    return Judgement(worst, float(error[at]), at, reason)


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """Return the worst of some judgements."""
    return max(judgements, key=lambda judgement: judgement.error_ratio)


def on_grid(case: Case, array: Array, largest: float) -> Array:
    """Return the array rounded so coarsely that sums up to `largest` in magnitude are exact in the case's dtype."""
    if largest <= 0 or not np.isfinite(largest):
        return array
    grid = 2.0 ** (np.ceil(np.log2(largest)) + 1) * case.format.roundoff
    return np.rint(array / grid) * grid
