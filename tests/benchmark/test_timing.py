"""Rounds: what they do, not how long they take."""

from __future__ import annotations

import gc
import itertools
import random
from typing import Any

import pytest

from attention_harness.benchmark import timing
from attention_harness.benchmark.timing import Sample, Warmed


class Named:
    """An arm whose sample takes so long on the wall and of the thread, and is noted by name."""

    def __init__(self, name: str, seen: list[str], *, wall_s: float = 1.0, cpu_s: float = 1.0, **warmed: Any) -> None:
        self.name, self.seen, self.taken = name, seen, Sample(wall_s, cpu_s, 0.0)
        self.warmed = Warmed(**{"one_thread": True} | warmed)

    def sample(self) -> Sample:
        """Note the name."""
        self.seen.append(self.name)
        return self.taken


def named(seen: list[str], *names: str) -> dict[str, Named]:
    """Return arms by name."""
    return {name: Named(name, seen) for name in names}


def test_every_round_calls_every_arm_once() -> None:
    """The arms of a round are a permutation, and the permutations differ."""
    seen: list[str] = []
    timing.rounds(named(seen, "a", "b", "c"), time_per_arm=0, rng=random.Random(0), least=40)
    orders = [tuple(seen[i : i + 3]) for i in range(0, len(seen), 3)]

    assert len(orders) == 40
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len(set(orders)) == 6


def test_the_order_depends_on_the_seed_alone() -> None:
    """The same seed gives the same order; another gives another."""

    def order(seed: int) -> list[str]:
        seen: list[str] = []
        timing.rounds(named(seen, "a", "b", "c"), time_per_arm=0, rng=random.Random(seed), least=10)
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_every_arm_has_a_sample_of_every_round() -> None:
    """Samples are aligned by round, so that they can be paired; there are at least 15."""
    found = timing.rounds(named([], "a", "b"), time_per_arm=0, rng=random.Random(0))

    assert {name: len(samples) for name, samples in found.items()} == {"a": timing.ROUNDS, "b": timing.ROUNDS}


@pytest.mark.parametrize(("waits", "rounds"), [(False, 100), (True, 20)])
def test_rounds_go_on_until_the_time_is_used(monkeypatch: pytest.MonkeyPatch, waits: bool, rounds: int) -> None:
    """Of the thread, whose second holds as many calls on a crowded machine as ever; of the wall where an arm waits."""
    tick(monkeypatch, 0.5)
    arm = Named("a", [], wall_s=0.5, cpu_s=0.1, waits=waits)
    found = timing.rounds({"a": arm}, time_per_arm=10.0, rng=random.Random(0), least=1)

    assert rounds - 1 <= len(found["a"]) <= rounds + 1
    assert timing.rounds({}, time_per_arm=1e9, rng=random.Random(0)) == {}


def test_a_sample_of_several_calls_counts_as_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s are used by 20 samples of five calls of 0.1 s."""
    tick(monkeypatch, 0.5)
    arm = Named("a", [], cpu_s=0.1, calls=5)
    assert 20 <= len(timing.rounds({"a": arm}, time_per_arm=10.0, rng=random.Random(0), least=1)["a"]) <= 21


def test_a_crowd_does_not_stretch_rounds_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets hardly any time ends after eight times its share on the wall."""
    tick(monkeypatch, 1.0)
    arm = Named("a", [], cpu_s=1e-9)
    assert 7 <= len(timing.rounds({"a": arm}, time_per_arm=1.0, rng=random.Random(0), least=1)["a"]) <= 9


def tick(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Let so many seconds pass on the wall between two readings of the clock."""
    readings = itertools.count(step=step)
    monkeypatch.setattr(timing, "perf_counter", lambda: next(readings))


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_not_collected_while_timing(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    """The collector is off during rounds and afterwards as it was before."""
    states: list[bool] = []
    arm = Named("a", [])
    monkeypatch.setattr(arm, "sample", lambda: states.append(gc.isenabled()) or arm.taken)
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        timing.rounds({"a": arm}, time_per_arm=0, rng=random.Random(0))
        assert {False} == set(states)
        assert enabled == gc.isenabled()
    finally:
        (gc.enable if was else gc.disable)()
