"""The process of an implementation: it answers what the judge asks, until the judge is gone.

It imports the implementation, torch and NumPy, and of this harness the model and this room. What could be of use for a
right answer without computing one - reference, error bounds, checks - is not here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from attention_harness.host import loading, memory, wire
from attention_harness.host.loading import Source
from attention_harness.host.raised import in_words
from attention_harness.host.wire import Answer, Question
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError, ImplementationRaised

_GROWN = 4  # a process that keeps 1/4 of its limit after a case is replaced, or the next would be blamed for it
_SHOWN = 200  # characters of a setting's value
_DECLARING = ("declare", "begin", "ask")  # a mistake there is one of the file

# Bound before an implementation is imported, which may replace any name.
_exit = os._exit
_flush = (sys.stdout.flush, sys.stderr.flush)


def serve(channel: wire.Channel, source: Source, allowed_memory: int = memory.UNLIMITED) -> None:
    """Answer questions on an implementation until the other end is gone."""
    server, decoder = _Server(channel, source, allowed_memory), msgspec.msgpack.Decoder(Question)
    while True:
        try:
            question, descriptor = channel.receive(decoder)
        except EOFError:
            return
        answer = server.answer(question, descriptor)
        try:
            channel.send(answer)
        except (TypeError, ValueError, OverflowError) as error:  # of what is no data, as a declaration may hold
            channel.send(Answer(mistake=f"{source.where}: what it declares is no plain data: {error}"))


class _Server:
    """Answers questions. What was returned by the last watched call, and what was prepared, stays here."""

    def __init__(self, channel: wire.Channel, source: Source, allowed_memory: int) -> None:
        self._channel, self._source, self._allowed_memory = channel, source, allowed_memory
        self._storages = wire.Storages()
        self._module: ModuleType | None = None
        self._path = source.path
        self._prepared: list[Any] = []
        self._watched: list[Any] = []

    def answer(self, question: Question, descriptor: int | None) -> Answer:
        """Return the answer to a question."""
        operation: Callable[..., Answer] = getattr(self, f"_{question.operation}")
        try:
            with in_words(self._path, own_interrupts=True):
                groups = ()
                if question.tensors:
                    groups = self._storages.unpack(question, self._channel, descriptor)  # type: ignore[assignment]
                return operation(*groups, **question.arguments)
        except ImplementationRaised as error:
            if isinstance(error.__cause__, HarnessError) and question.operation in _DECLARING:
                return Answer(mistake=wire.readable(str(error.__cause__)))
            return Answer(raised=wire.readable(str(error)), kind=wire.readable(error.kind))

    # --- what is declared

    def _declare(self) -> Answer:
        """Import the module."""
        self._module = loading.load(self._source)
        facts = loading.facts(self._source, self._module)
        self._path = facts.path
        return Answer(facts=facts)

    def _begin(self) -> Answer:
        """Import the module, and note what that changes."""
        from attention_harness.host import calls
        from attention_harness.host.process_state import live_threads, process_state

        self._state, self._threads = process_state(), live_threads()
        self._private_memory = memory.private_memory()
        with calls.setting_up(self._source.name):
            return self._declare()

    def _ask(self, name: str, cases: Sequence[str]) -> Answer:
        """Ask an optional function of the module."""
        assert self._module is not None
        return Answer(text=wire.readable(loading.answer(self._module, self._path, name, *map(Case.from_id, cases))))

    # --- what is called

    def _prepare(self, case: str) -> Answer:
        from attention_harness.host import calls

        assert self._module is not None
        found = calls.prepared(_Here(self._source.name, self._path, self._module), Case.from_id(case))
        self._prepared.append(found)
        shown = {name: (_shown(old), _shown(new)) for name, (old, new) in found.set_up.items()}
        return Answer(prepared=len(self._prepared) - 1, set_up=shown)

    def _call(self, tensors: dict[str, Any], prepared: int, watched: bool = False, **keywords: Any) -> Answer:
        returned = self._prepared[prepared].call(tensors, watched=watched, **keywords)
        if watched:
            self._watched.append(returned)
        return Answer(
            prepared=len(self._watched) - 1 if watched else -1,
            parts=wire.pack((returned.output, returned.weights, returned.lse), self._channel),
            changed_inputs=returned.changed_inputs,
            changed_state=tuple(map(wire.readable, returned.changed_state)),
            shared_memory=dict(returned.shared_memory),
        )

    def _call_together(self, *problems: dict[str, Any], prepared: int, rounds: int) -> Answer:
        found = self._prepared[prepared].call_together(problems, rounds)
        parts = [part for answers in found for one in answers for part in (one.output, one.weights, one.lse)]
        return Answer(parts=wire.pack(parts, self._channel), counts=list(map(len, found)))

    def _call_mapped(self, tensors: dict[str, Any], prepared: int, names: Sequence[str]) -> Answer:
        return Answer(parts=wire.pack((self._prepared[prepared].call_mapped(tensors, names).output,), self._channel))

    def _reread(self, prepared: int, watched: int) -> Answer:
        now = self._prepared[prepared].reread(self._watched[watched])
        return Answer(parts=wire.pack((now.output, now.weights, now.lse), self._channel))

    def _gradients(
        self,
        tensors: dict[str, Any],
        given: dict[str, Any],
        between: dict[str, Any] | None = None,
        *,
        prepared: int,
        names: Sequence[str],
        **keywords: Any,
    ) -> Answer:
        keywords["between"] = between
        return self._derivatives(self._prepared[prepared].gradients(tensors, given["upstream"], names, **keywords))

    def _forward_derivative(self, tensors: dict[str, Any], directions: dict[str, Any], prepared: int) -> Answer:
        return self._derivatives(self._prepared[prepared].forward_derivative(tensors, directions))

    def _second_derivatives(
        self, tensors: dict[str, Any], given: dict[str, Any], directions: dict[str, Any], prepared: int
    ) -> Answer:
        found = self._prepared[prepared].second_derivatives(tensors, given["upstream"], directions)
        return self._derivatives(found)

    def _derivatives(self, found: Any) -> Answer:
        parts = wire.pack((found.output, *found.by_name.values()), self._channel)
        return Answer(parts=parts, names=list(found.by_name), differentiable=bool(found.differentiable))

    # --- what became of this process

    def _end_case(self) -> Answer:
        """Tell what the calls of a case changed here, and whether this process may meet the next one."""
        from attention_harness.host.calls import changed_by_calls
        from attention_harness.host.process_state import live_threads, process_state

        state = process_state()
        replaced = self._state.replaced(state)
        changed = changed_by_calls(self._source.name, self._state.settings, state.settings)
        self._prepared.clear()
        self._watched.clear()
        grown = memory.private_memory() - self._private_memory > self._allowed_memory // _GROWN
        busy = bool(live_threads() - self._threads)
        for flush in _flush:
            with contextlib.suppress(Exception):
                flush()
        return Answer(
            replaced=tuple(map(wire.readable, replaced)),
            changed_state=tuple(map(wire.readable, changed)),
            spoilt=bool(changed or replaced or busy or grown),
        )


class _Here(msgspec.Struct):
    """The implementation of this process, as `calls` takes it."""

    name: str
    path: Path
    module: Any

    def prepare(self, case: Case) -> Any:
        return self.module.prepare(case)


def _shown(value: object) -> str | None:
    """Return a setting's value in words; None where there is none."""
    return None if value is None else wire.readable(str(value))[:_SHOWN]
