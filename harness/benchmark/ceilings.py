"""What this machine can do at most, measured as an arm of each cell: on the same machine in the same second.

At the start of a pass every operation of its cells is timed for a moment (`Survey`), which says what may bind a cell
and which of several operations is the fastest. Those are then an arm of the cell's rounds (`CeilingArm`), and what
slows the implementations slows it as well. A ceiling that is measured minutes before or after stood 16 % too low.

The rate of an operation is the 95th percentile of its samples in the rounds of the cell; of fewer than 20, the best.
It stands against the median of an arm's time. Others only ever lower a rate, so this is the bound that a call at the
ceiling does not pass by noise, as it would half of the time if both sides were medians. What it costs: where a large
part of the samples is disturbed, the share is too low by as much as the median is from the undisturbed; 1 to 9 % on a
quiet machine (`BENCHMARKING` section 4). It is not too high.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attention_harness.benchmark.costs import BYTES, amount, cost, kinds
from attention_harness.benchmark.operations import Operation, cache_sizes, operations
from attention_harness.benchmark.timing import Call, Sample, Warmed
from attention_harness.benchmark.timing_host import BLOCK_S, Host, repeated
from attention_harness.cases.ids import parse
from attention_harness.model.errors import describe
from attention_harness.model.pass_records import Ceiling

CEILING = "#ceiling of torch/oneDNN"
"""The name of the arm in the rounds of a cell. No implementation has it: theirs are names of files, without a slash."""

PERCENTILE = 0.95
SECONDS, LEAST = 8e-3, 8  # of a first look at an operation, and samples of it
NEAR, ALIKE = 0.7, 0.9  # of the binding time, and of the fastest rate: what a first look does not tell apart
MOST = 4  # operations of an arm: each is sampled in every fourth round


@dataclass(frozen=True)
class Look:
    """A first look at an operation: the size at which a call takes long enough, and its rate in units a second."""

    operation: Operation
    size: int
    rate: float


class Survey:
    """First looks at the operations of a pass, each made once. clock: which of a sample's times counts, `cpu_s`, ..."""

    def __init__(self, threads: int) -> None:
        self.caches = cache_sizes()
        self.clock = "cpu_s" if threads == 1 else "wall_s"
        self._fastest: dict[tuple[str, str], Look] = {}
        self._looks: dict[tuple[str, str], Look | str] = {}

    def binding(self, case_id: str, direction: str) -> list[Look] | str:
        """Return the operations that may bind a call on a case, the likeliest first; or why there is no ceiling."""
        case = parse(case_id)
        counted = cost(case, direction)
        found: list[tuple[float, list[Look]]] = []
        for kind in kinds(counted, self.caches):
            looks = [self._look(operation) for operation in operations(kind, case, self.caches)]
            known = sorted((look for look in looks if isinstance(look, Look)), key=lambda look: -look.rate)
            if not known:
                return f"{kind} in {case.dtype}: {'; '.join(dict.fromkeys(map(str, looks)))}"
            best, key = known[0], (kind, known[0].operation.dtype)
            self._fastest[key] = max(self._fastest.get(key, best), best, key=lambda look: look.rate)
            found.append(
                (amount(counted, kind) / best.rate, [look for look in known if look.rate >= ALIKE * best.rate])
            )
        found.sort(key=lambda one: -one[0])
        near = [looks for seconds, looks in found if seconds >= NEAR * found[0][0]]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*near))  # the best of each kind, then the second
        return [look for look in turns if look is not None][:MOST]

    def records(self, which: Mapping[str, Any]) -> Iterator[Ceiling]:
        """Yield what was found: of each kind and dtype the fastest operation. which: pass and threads"""
        for (kind, dtype), look in self._fastest.items():
            rates: dict[str, Any] = {"wall": None, "cpu": None} | {self.clock.removesuffix("_s"): look.rate}
            about: dict[str, Any] = {**which, "when": "start", "operation": look.operation.name}
            yield Ceiling(**about, **rates, kind=kind, dtype=dtype, caches=self.caches if dtype == BYTES else {})

    def _look(self, operation: Operation) -> Look | str:
        """Return a look at an operation, or what it raised."""
        key = operation.kind, operation.name
        if key not in self._looks:
            try:
                self._looks[key] = self._first(operation)
            except Exception as error:  # such as a dtype that it does not know, or no memory
                self._looks[key] = describe(error)
        found = self._looks[key]
        # float32's is that of narrower dtypes too
        return found if isinstance(found, str) else replace(found, operation=operation)

    def _first(self, operation: Operation) -> Look:
        size, units, call = _fitted(operation)
        times = [getattr(sample, self.clock) for sample in repeated(call, SECONDS, LEAST)]
        return Look(operation, size, units / max(min(times), 1e-9))


def _fitted(operation: Operation) -> tuple[int, float, Call]:
    """Return the size at which a call takes 0.2 to 2 ms, the units of a call, and the call."""
    size = 1
    while True:
        units, call = operation.make(size)
        fastest = min(Host().once(call, {}) for _ in range(3))
        if fastest >= operation.least_s or size >= operation.largest:
            return size, units, call
        size *= 4 if fastest < operation.least_s / 8 else 2


@dataclass
class _Turn:
    """An operation of an arm. units: of a call; calls: of a sample"""

    operation: Operation
    units: float
    call: Call
    calls: int
    samples: list[Sample] = field(default_factory=list)

    def rate(self, clock: str) -> float:
        """Return the 95th percentile of the units a second, of fewer than 20 samples the best; 0 of none."""
        rates = sorted(self.units / time for sample in self.samples if (time := getattr(sample, clock)) > 0)
        return rates[min(int(PERCENTILE * len(rates)), len(rates) - 1)] if rates else 0.0


class CeilingArm:
    """The operations that bind a cell, as one arm of its rounds: they take turns. What raises is called no more.

    reason  what was raised, or why there are no operations
    warmed  the calls of the latest turn; else as of an arm that leaves it to the others when rounds end
    """

    def __init__(self, looks: Iterable[Look] | str) -> None:
        self.reason = looks if isinstance(looks, str) else ""
        self.warmed = Warmed(one_thread=True)
        self.turns: list[_Turn] = []
        self._next = 0
        for look in () if isinstance(looks, str) else looks:
            try:
                units, call = look.operation.make(look.size)
                fastest = min(Host().once(call, {}) for _ in range(3))
            except Exception as error:  # such as no memory
                self.reason = f"{look.operation.name}: {describe(error)}"
                continue
            calls = max(1, math.ceil(BLOCK_S / max(fastest, 1e-9)))
            self.turns.append(_Turn(look.operation, units, call, calls))

    def sample(self) -> Sample:
        """Take a sample of the operation whose turn it is; one of no time where none is left.

        One call before it, outside of the clocks, brings its numbers back into the caches: the other arms took them. A
        call of 20 ms has its own there for most of its time, and would otherwise pass a ceiling of 0.3 ms.
        """
        nothing = Sample(0.0, 0.0, 0.0)
        if not self.turns:
            return nothing
        turn = self.turns[self._next % len(self.turns)]
        self._next += 1
        self.warmed = Warmed(turn.calls + 1, one_thread=True)
        try:
            turn.call()
            sample = Host().sample(turn.call, {}, turn.calls)
        except Exception as error:
            self.reason = f"{turn.operation.name}: {describe(error)}"
            self.turns.remove(turn)
            return nothing
        turn.samples.append(sample)
        return sample

    def records(self, which: Mapping[str, Any], cell: str) -> Iterator[Ceiling]:
        """Yield the ceiling of each kind, that of its fastest operation; or why there is none. which: pass and threads

        CPU time counts the work of one thread alone.
        """
        about: dict[str, Any] = {**which, "when": "cell", "cell": cell}
        by_kind: dict[tuple[str, str], list[_Turn]] = {}
        for turn in self.turns:
            if turn.samples:
                by_kind.setdefault((turn.operation.kind, turn.operation.dtype), []).append(turn)
        for (kind, dtype), turns in by_kind.items():
            wall, cpu = (max(turn.rate(clock) for turn in turns) for clock in ("wall_s", "cpu_s"))
            name = max(turns, key=lambda turn: turn.rate("wall_s")).operation.name
            rates: dict[str, Any] = {"wall": wall, "cpu": cpu if cpu and which["threads"] == 1 else None}
            yield Ceiling(**about, **rates, kind=kind, dtype=dtype, operation=name)
        if not by_kind:
            yield Ceiling(
                **about, kind="", dtype="", wall=None, cpu=None, reason=self.reason or "no operation binds it"
            )
