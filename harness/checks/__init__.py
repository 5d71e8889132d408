"""One file per kind of question that is asked of an implementation. `CHECKS` is the list; each check is a function.

A check takes a `Subject` (one implementation on one case) and returns a `Judgement`; whether it applies to a case is a
second function beside it. What an implementation declares chooses its checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attention_harness.bounds.judge import Judgement
from attention_harness.checks import accuracy, contract, dropout, examples, gradients, size, training
from attention_harness.checks.behaviour import measured
from attention_harness.checks.relations import RELATIONS
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import Implementation

__all__ = ["CHECKS", "Check", "Subject"]


@dataclass(frozen=True, slots=True)
class Check:
    """A named question: `applies` says whether it is asked of an implementation on a case.

    large: it can be asked of a problem whose scores are never there as a whole
    """

    name: str
    ask: Callable[[Subject], Judgement]
    applies: Callable[[Implementation, Case], bool]
    large: bool = False

    def too_large(self, case: Case) -> str:
        """Return why the question cannot be asked of a problem of this size, or ""."""
        return "" if self.large else size.in_one_piece(case)

    @property
    def summary(self) -> str:
        """What is asked: the first paragraph of the function's docstring."""
        return " ".join((self.ask.__doc__ or "").split("\n\n")[0].split())


CHECKS = (
    Check("accuracy", accuracy.output, lambda implementation, case: True, large=True),
    Check("weights", accuracy.weights, accuracy.returns_weights),
    Check("example", examples.worked_example, examples.is_example),
    Check("purity", contract.purity, lambda implementation, case: True, large=True),
    Check("dropout", dropout.dropout, dropout.has_dropout),
    Check("second_call", contract.second_call, contract.is_ordinary),
    Check("gradient", gradients.gradient, gradients.has_gradient),
    Check("second_derivative", gradients.second_derivative, gradients.has_second_derivative),
    Check("training", training.training, training.is_regression),
    *(Check(f"behaviour.{name}", ask, applies) for name, ask, applies in measured.BEHAVIOURS),
    *(Check(relation.name, relation.ask, relation.asked) for relation in RELATIONS),
)
