"""Times arms in interleaved rounds of random order, and says what a device has to offer for that.

The arms of a cell are called one after another in a new random order each round, so that whatever disturbs the machine
meets all of them alike; blocks of calls to one arm, then to the next, put identical functions 5 % apart in one of six
comparisons (`BENCHMARKING` section 2).
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter  # bound before an arm is imported, which may replace it
from typing import Any, Protocol, TypeVar

ROUNDS = 15  # at least, in each pass
CROWDED = 8  # on the wall, rounds take at most so many times the time that they may take

Call = Callable[..., Any]
Tensors = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: seconds for one call on the wall and of this thread (NaN: unknown), minor faults for one call.

    cut  whether the scheduler took the core away meanwhile; giving it away, as sleep does, is not that
    """

    wall_s: float
    cpu_s: float
    faults: float
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Warmed:
    """What an arm showed while it became warm: the calls for each sample, and who does the work.

    one_thread  this thread does all of it, so that its CPU time counts it
    waits       it sleeps, or leaves work to another process: being off the core is part of its time, and no preemption
    """

    calls: int = 1
    one_thread: bool = False
    waits: bool = False


class Clock(Protocol):
    """How calls are timed on a device, and how their memory is read."""

    def once(self, call: Call, tensors: Tensors) -> float:
        """Return the seconds that one call takes, its work on the device included."""

    def warm(self, call: Call, tensors: Tensors) -> Warmed:
        """Call until it is warm; nothing of it is a sample. The fastest single call sets the calls for each sample."""

    def sample(self, call: Call, tensors: Tensors, calls: int) -> Sample:
        """Time some calls one after another."""

    def peak_bytes(self, call: Call, tensors: Tensors) -> int | None:
        """Return the memory that one call adds at its peak, its result included; None where it cannot be read."""


class Timed(Protocol):
    """What rounds are made of: an arm that is warm."""

    warmed: Warmed

    def sample(self) -> Sample:
        """Take one sample."""


_Arm = TypeVar("_Arm", bound=Timed)


def rounds(
    arms: Mapping[str, _Arm],
    *,
    time_per_arm: float,
    rng: random.Random,
    least: int = ROUNDS,
    beat: Callable[[], Any] = lambda: None,
    take: Callable[[_Arm], Sample] = lambda arm: arm.sample(),
) -> dict[str, list[Sample]]:
    """Return the samples of every arm, in round order: the same number for each. beat: is called after each round.

    It stops on time and rounds alone. Stopping when a difference looks significant would find one in the end. Where
    each arm keeps to one thread the time is its CPU time: on a crowded machine the same second holds fewer calls.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in arms}
    order = list(arms)
    by_cpu = all(arm.warmed.one_thread and not arm.warmed.waits for arm in arms.values())
    enough = time_per_arm * len(arms)
    with collection_paused():
        began, on_cpu, done = perf_counter(), 0.0, 0
        while arms:
            elapsed = perf_counter() - began
            spent = on_cpu if by_cpu else elapsed
            if done >= least and (spent >= enough or elapsed >= CROWDED * enough):
                break
            rng.shuffle(order)
            for name in order:
                samples[name].append(take(arms[name]))
                on_cpu += arms[name].warmed.calls * samples[name][-1].cpu_s
            done += 1
            beat()
    return samples


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect garbage now, and none until the end."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
