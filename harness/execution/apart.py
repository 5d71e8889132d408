"""An implementation whose code runs in a process of its own, as the judge sees it: declarations and answers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attention_harness.checks.subject import Subject
from attention_harness.execution.hosts import Host
from attention_harness.host.loading import Facts
from attention_harness.host.wire import Answer
from attention_harness.model import time_account
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.returned import Derivatives, Returned
from attention_harness.registry import Declared
from attention_harness.registry.implementations import validate

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]


class Apart(Declared):
    """An implementation in a process of its own."""

    def __init__(self, host: Host, facts: Facts) -> None:
        validate(host.source.name, facts)
        self.host, self._facts = host, facts
        self.name, self.loaded = host.source.name, host.source.loaded
        self.path, self.module_name = facts.path, facts.module
        self._answers: dict[tuple[str, ...], str] = {}

    @property
    def capabilities(self) -> Capabilities:
        return self._facts.capabilities

    @property
    def summary(self) -> str:
        return self._facts.summary

    @property
    def failures(self) -> Mapping[str, str]:
        return self._facts.failures

    def answer(self, name: str, *arguments: Case) -> str:
        if name not in self._facts.answers:
            return ""
        key = (name, *(case.id for case in arguments))
        if key not in self._answers:
            self._answers[key] = self.host.ask("ask", name=name, cases=[case.id for case in arguments]).text
        return self._answers[key]

    def prepare(self, case: Case) -> PreparedApart:
        """Return the implementation prepared for a case."""
        with time_account.spent(time_account.IMPLEMENTATION):
            answer = self.host.ask("prepare", case=case.id)
        return PreparedApart(self.host, answer.prepared, answer.set_up)

    def subject(self, case: Case) -> Subject:
        """Return the subject of the checks on a case."""
        return Subject(self, self.prepare, case)


_RESULTS = 3  # of a call: output, weights, log-sum-exp


@dataclass(frozen=True)
class _Watched(Returned):
    number: int = -1


class PreparedApart:
    """A `Prepared` that asks another process. What is waited for is the implementation's time."""

    def __init__(self, host: Host, number: int, set_up: Mapping[str, tuple[str | None, str | None]]) -> None:
        self._host, self._number = host, number
        self.set_up = set_up

    def call(
        self,
        tensors: Tensors,
        *,
        training: bool = False,
        seed: int | None = None,
        threads: int | None = None,
        watched: bool = False,
        autocast: str = "",
    ) -> Returned:
        """See `Prepared.call`."""
        settings = {"training": training, "seed": seed, "threads": threads, "watched": watched, "autocast": autocast}
        answer = self._ask("call", (tensors,), settings, shared=watched)
        output, weights, lse = self._host.results(answer, _RESULTS)
        if not watched:
            return Returned(output, weights, lse)
        changed = dict.fromkeys((*self._host.changed_inputs(), *answer.changed_inputs))
        shared = answer.shared_memory
        return _Watched(output, weights, lse, tuple(changed), answer.changed_state, shared, answer.prepared)

    def call_mapped(self, tensors: Tensors, names: Sequence[str]) -> Returned:
        """See `Prepared.call_mapped`."""
        return Returned(*self._host.results(self._ask("call_mapped", (tensors,), {"names": list(names)}), 1))

    def call_together(self, problems: Sequence[Tensors], rounds: int) -> list[list[Returned]]:
        """See `Prepared.call_together`."""
        answer = self._ask("call_together", problems, {"rounds": rounds})
        found = iter(self._host.results(answer, _RESULTS * sum(answer.counts)))
        return [[Returned(*itertools.islice(found, _RESULTS)) for _ in range(count)] for count in answer.counts]

    def reread(self, returned: Returned) -> Returned:
        """See `Prepared.reread`."""
        if not isinstance(returned, _Watched):
            raise ValueError("only what a watched call returned can be read again; call with watched=True")
        return Returned(*self._host.results(self._ask("reread", (), {"watched": returned.number}), _RESULTS))

    def gradients(
        self,
        tensors: Tensors,
        upstream: Tensor,
        names: Sequence[str] = (),
        *,
        between: Tensors | None = None,
        accumulated: bool = False,
        training: bool = False,
        seed: int | None = None,
    ) -> Derivatives:
        """See `Prepared.gradients`."""
        settings = {"names": list(names), "accumulated": accumulated, "training": training, "seed": seed}
        groups = (tensors, {"upstream": upstream}, *([between] if between else ()))
        return self._derivatives(self._ask("gradients", groups, settings))

    def forward_derivative(self, tensors: Tensors, directions: Tensors) -> Derivatives:
        """See `Prepared.forward_derivative`."""
        return self._derivatives(self._ask("forward_derivative", (tensors, directions)))

    def second_derivatives(self, tensors: Tensors, upstream: Tensor, directions: Tensors) -> Derivatives:
        """See `Prepared.second_derivatives`."""
        return self._derivatives(self._ask("second_derivatives", (tensors, {"upstream": upstream}, directions)))

    def _derivatives(self, answer: Answer) -> Derivatives:
        output, *found = self._host.results(answer, 1 + len(answer.names))
        return Derivatives(output, answer.differentiable, dict(zip(answer.names, found)))

    def _ask(
        self,
        operation: str,
        groups: Sequence[Tensors],
        settings: Mapping[str, Any] = MappingProxyType({}),
        *,
        shared: bool = False,
    ) -> Answer:
        with time_account.spent(time_account.IMPLEMENTATION):
            return self._host.ask(operation, groups, shared=shared, prepared=self._number, **settings)
