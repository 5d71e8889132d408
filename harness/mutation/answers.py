"""What an implementation answers on a case, and how far the answers of two are apart."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks import Check, Subject
from attention_harness.checks.accuracy import is_degenerate
from attention_harness.checks.expected import bound_of
from attention_harness.checks.form import to_array
from attention_harness.execution import in_process
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.mutation.mutants import MUTANTS, Mutant
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation

_TENSORS = ("query", "key", "value", "sequence", "context", "scores")


class Answer:
    """What an implementation answers on a case: output and weights at once, failures when they are asked for."""

    def __init__(self, implementation: Implementation, case: Case) -> None:
        self.case = case
        self.implementation = implementation
        self.judged: dict[str, tuple[str, Judgement | None]] = {}
        self.parts: tuple[tuple[str, NDArray[np.float64] | None], ...] | None = None  # None: it raised
        with state_restored(), contextlib.suppress(Exception, SystemExit):
            result = _called(implementation, case)
            pair = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
            self.parts = tuple(map(_form, pair))

    @functools.cached_property
    def subject(self) -> Subject:
        """What the checks are asked of."""
        return in_process.subject(self.implementation, self.case)

    def kind(self, check: Check) -> str:
        """Return of what kind a check's reason is, without its numbers; "" when it passes."""
        return self.ask(check)[0]

    def ask(self, check: Check) -> tuple[str, Judgement | None]:
        """Return the kind of a check's reason, and its judgement unless it raised."""
        if check.name not in self.judged:
            with state_restored():
                try:
                    judgement = check.judge(self.subject)
                except (Exception, SystemExit):
                    self.judged[check.name] = ("raises", None)
                else:
                    self.judged[check.name] = (kind_of(judgement.reason), judgement)
        return self.judged[check.name]


def _called(implementation: Implementation, case: Case) -> Any:
    """Return the result of a call, without what a check records around it."""
    import torch

    with torch.no_grad():
        return implementation.prepare(case)(**inputs.tensors(case))


@functools.lru_cache(maxsize=2048)
def hypothesis_of(mutant: Mutant, declared: Capabilities, case: Case) -> Answer:
    """Return the answer of a mutant, held to the declaration of the implementation that it may explain."""
    return Answer(_planted(mutant, declared), case)


@functools.lru_cache(maxsize=2 * len(MUTANTS))
def _planted(mutant: Mutant, declared: Capabilities) -> Implementation:
    made = mutant.implementation()
    vars(made.module)["CAPABILITIES"] = declared
    return made


def _form(tensor: Any) -> tuple[str, NDArray[np.float64] | None]:
    """Return a tensor's form in words, and its numbers; those of what is no tensor are None."""
    import torch

    if type(tensor) is not torch.Tensor:
        return type(tensor).__name__, None
    return f"{tensor.dtype} {tuple(tensor.shape)} {tensor.device.type}", to_array(tensor)


def kind_of(reason: str) -> str:
    """Return a reason without its numbers and without which of the main tensors it names; the names of cases stay."""
    return " ".join("#" if _is_number(word) or word in _TENSORS else word for word in reason.split())


def _is_number(word: str) -> bool:
    try:
        float(word.strip("()[]{},;:"))
    except ValueError:
        return False
    return True


def difference(one: Answer, other: Answer, checks: Sequence[Check]) -> float:
    """Return how far two answers are apart, over what is allowed: above 1 they differ; -1 when no number was compared.

    one   its declaration says what a fully masked row is and which roundings it makes
    """
    if one.parts is None or other.parts is None:
        return -1.0 if one.parts is other.parts else math.inf
    worst = -1.0
    asked = {check.name for check in checks} if checks else {"weights"}
    own = one.implementation.capabilities
    error_bounds = bound_of(one.case, own.arithmetic, own.fully_masked_rows)
    zero = bound_of(one.case, own.arithmetic, "zero")
    for place, name in enumerate(("output", "weights")):
        error_bound, plain = error_bounds[place], zero[place]
        if error_bound is None or plain is None or (name == "weights" and not (own.weights and name in asked)):
            continue
        (form, numbers), (other_form, other_numbers) = one.parts[place], other.parts[place]
        if form != other_form:
            return math.inf
        if numbers is not None and other_numbers is not None:
            worst = max(worst, apart(numbers, other_numbers, error_bound, plain, one.case))
        if worst > 1:
            return math.inf
    for check in checks:
        worst = max(worst, _told_apart(one.ask(check), other.ask(check), check))
        if worst > 1:
            return math.inf
    return worst


def apart(
    numbers: NDArray[np.float64], hypothesis: NDArray[np.float64], error_bound: ErrorBound, zero: ErrorBound, case: Case
) -> float:
    """Return how far the numbers are from the hypothesis', over what two roundings of it may differ."""
    numbers, hypothesis = numbers.copy(), hypothesis.copy()
    same = (numbers == hypothesis) & np.isinf(hypothesis)
    if (
        numbers.shape == zero.value.shape
    ):  # another policy for fully masked rows, where it is declared, is no difference
        same |= ~((error_bound.value == zero.value) | (np.isnan(error_bound.value) & np.isnan(zero.value)))
    numbers[same] = hypothesis[same] = 0.0
    largest = 2 * _largest(zero.bound) * max(1.0, _largest(hypothesis) / (_largest(zero.value) or 1.0))
    bound = np.full(hypothesis.shape, largest)
    around = ErrorBound(hypothesis, bound, bound, None, None)
    if numbers.shape == zero.value.shape:
        still = np.abs(hypothesis - zero.value) <= zero.bound  # what the mutant leaves as it was
        around = replace(
            zero,
            value=hypothesis,
            bound=np.where(still, 2 * zero.bound, bound),
            deviation=math.sqrt(2) * zero.deviation,
            linear=None if zero.linear is None else zero.linear & still.all(-1),
        )
    return judge(numbers, around, degenerate=is_degenerate(case)).error_ratio


def _largest(array: NDArray[np.float64]) -> float:
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def _told_apart(one: tuple[str, Judgement | None], other: tuple[str, Judgement | None], check: Check) -> float:
    """Return how far two judgements of a check are apart: they agree when kind and error do, to two error bounds."""
    (kind, judged), (other_kind, other_judged) = one, other
    if check.name in ("accuracy", "weights"):  # their numbers were compared: which limit they break first is chance
        return -1.0 if bool(kind) == bool(other_kind) else math.inf
    if kind != other_kind:
        return math.inf
    if not kind or judged is None or other_judged is None:
        return -1.0
    if not (0 < judged.error_ratio < math.inf and math.isfinite(judged.error) and math.isfinite(other_judged.error)):
        return -1.0 if judged.error == other_judged.error else math.inf
    error_bound = judged.error / judged.error_ratio
    return abs(judged.error - other_judged.error) / (2 * error_bound) if error_bound else -1.0
