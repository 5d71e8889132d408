"""The response of an implementation to a case: its numbers, and how each check fails."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks import Check, Subject
from attention_harness.checks.form import to_array
from attention_harness.execution import in_process
from attention_harness.execution.apart import Apart
from attention_harness.execution.lost import Lost
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.causes import without_numbers
from attention_harness.model.errors import ImplementationRaised
from attention_harness.mutation.executed import RIGHT, Statements, recorded
from attention_harness.mutation.patched import Mutant
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Declared, Implementation

Part = tuple[str, NDArray[np.float64] | None]
"""A result's type, shape and device in words, and its numbers; None for what is no tensor."""


class Response:
    """What an implementation returns for a case, computed at once, and how its checks fail, computed when needed.

    parts   output and weights; None when the call raised
    """

    def __init__(self, implementation: Declared, case: Case) -> None:
        self.case = case
        self.implementation = implementation
        self.parts: tuple[Part, ...] | None = None
        self._judged: dict[str, tuple[str, Judgement | None]] = {}
        with state_restored(), contextlib.suppress(ImplementationRaised):
            result = _subject(implementation, case).prepared.call(inputs.tensors(case))
            self.parts = _part(result.output), _part(result.weights)

    @functools.cached_property
    def subject(self) -> Subject:
        """The subject of the checks."""
        return _subject(self.implementation, self.case)

    def failure(self, check: Check) -> str:
        """Return how a check fails, without its numbers; "" when it passes."""
        return self.judge(check)[0]

    def judge(self, check: Check) -> tuple[str, Judgement | None]:
        """Return how a check fails, without its numbers, and its judgement unless it raised."""
        if check.name not in self._judged:
            with state_restored():
                try:
                    judgement = check.judge(self.subject)
                except Lost:
                    raise
                except Exception:
                    self._judged[check.name] = ("raises", None)
                else:
                    self._judged[check.name] = (without_numbers(judgement.reason), judgement)
        return self._judged[check.name]


def _subject(implementation: Declared, case: Case) -> Subject:
    """Return the subject of the checks: in a process of its own, or of a mutant in this one."""
    return (
        implementation.subject(case) if isinstance(implementation, Apart) else in_process.subject(implementation, case)
    )


def _part(result: Any) -> Part:
    import torch

    if type(result) is not torch.Tensor:
        return type(result).__name__, None
    return f"{result.dtype} {tuple(result.shape)} {result.device.type}", to_array(result)


@functools.lru_cache(maxsize=2048)
def response_of(mutant: Mutant, declared: Capabilities, case: Case) -> Response:
    """Return the response of a mutant that declares what the implementation declares which it may explain."""
    return Response(_declaring(mutant, declared), case)


@functools.lru_cache(maxsize=2048)
def executed_by(declared: Capabilities, case: Case, checks: tuple[Check, ...]) -> Statements:
    """Return what eager executes in a call and in the checks of a case."""
    with recorded() as run:
        response = Response(_declaring(RIGHT, declared), case)
        for check in checks:
            response.judge(check)
    return run.statements


@functools.lru_cache(maxsize=1024)
def _declaring(mutant: Mutant, declared: Capabilities) -> Implementation:
    made = mutant.implementation()
    vars(made.module)["CAPABILITIES"] = declared
    return made
