"""A measurement that contradicts itself cannot be made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from attention_harness.model.measurement import Measurement
from attention_harness.store.encoding import decode, encode, plain

WHERE = ("kernel", "dot_product", "bert_base", "dot_product-...", 1)
FASTER = Measurement(
    *WHERE,
    status="measured",
    prepare_s=(0.5, 0.4),
    first_call_s=0.1,
    calls_per_sample=2,
    wall_s=((1e-3, 1.1e-3), (1e-3,)),
    cpu_s=((1e-3, 1e-3), (1e-3,)),
    minor_faults_per_call=0.0,
    preempted=0.05,
    peak_bytes=1 << 20,
    baseline="eager",
    ratio=0.8,
    low=0.75,
    high=0.85,
    level=0.95,
    clock="wall",
    answer="faster",
    detectable=0.02,
    control_ratio=1.001,
)
REFUSED = Measurement(*WHERE, status="refused", reason="accuracy: |error| 1 exceeds its error bound 1e-6")


def test_it_survives_json() -> None:
    """What is written as a line is read back equal, samples included."""
    for row in (FASTER, REFUSED):
        assert row == decode(encode(row), Measurement)


@pytest.mark.parametrize(
    "claim", [{"ratio": 0.5}, {"wall_s": ((1.0,),)}, {"answer": "faster"}, {"peak_bytes": 1}, {"prepare_s": (1.0,)}]
)
def test_what_was_not_measured_states_nothing(claim: dict[str, Any]) -> None:
    """A refused implementation has no time, ratio or answer."""
    with pytest.raises(ValueError, match=next(iter(claim))):
        replace(REFUSED, **claim)


@pytest.mark.parametrize(
    "wrong",
    [{"direction": "sideways"}, {"status": "fine"}, {"answer": "quick"}, {"clock": "sun"}, {"preempted": 1.5}],
)
def test_a_file_says_nothing_else(wrong: dict[str, Any]) -> None:
    """A line whose value is none of the type's is refused, and the complaint names the field."""
    with pytest.raises(ValueError, match=rf"at `\$\.{next(iter(wrong))}`"):
        decode(json.dumps(plain(FASTER) | wrong).encode(), Measurement)


@pytest.mark.parametrize("status", ["refused", "unsupported", "unavailable", "error"])
def test_what_was_not_measured_has_a_reason(status: str) -> None:
    """Every status but measured says why."""
    with pytest.raises(ValueError, match="reason"):
        Measurement(*WHERE, status=status)


@pytest.mark.parametrize(
    ("claim", "complaint"),
    [
        ({"high": 1.01}, "contains 1"),
        ({"answer": "slower"}, "contains 1 or lies on the other side"),
        ({"low": 0.81}, "outside its interval"),
        ({"low": None, "high": None, "level": None}, "without an interval"),
        ({"low": None}, "come together"),
        ({"level": None}, "come together"),
        ({"ratio": None}, "come together"),
        ({"baseline": ""}, "come together"),
        ({"clock": "cpu", "cpu_s": ()}, "not possible"),
        ({"answer": "baseline"}, "compared with itself"),
        ({"implementation": "eager"}, "compared with itself"),
        ({"answer": "unreliable"}, "without a reason"),
        ({"wall_s": ()}, "no pass"),
        ({"wall_s": ((), (1.0,))}, "pass without samples"),
        ({"wall_s": ((1.0,), (1.0,))}, "not of the same rounds"),
        ({"wall_s": ((0.0, 1.0), (1.0,))}, "not a positive number"),
        ({"wall_s": ((float("nan"), 1.0), (1.0,))}, "not a positive number"),
        ({"cpu_s": ((-1.0, 1.0), (1.0,))}, "negative"),
        ({"calls_per_sample": 0}, "0 calls"),
        ({"peak_bytes": float("inf")}, "JSON cannot hold"),
        ({"detectable": float("nan")}, "JSON cannot hold"),
    ],
)
def test_a_contradiction_cannot_be_made(claim: dict[str, Any], complaint: str) -> None:
    """Samples, ratio, interval, clock and answer agree, or there is no measurement."""
    with pytest.raises(ValueError, match=complaint):
        replace(FASTER, **claim)


def test_an_interval_beyond_one_on_the_right_side_is_accepted() -> None:
    """The mirror image of faster is slower, and an interval around 1 is inconclusive, the same or unreliable."""
    assert replace(FASTER, answer="slower", ratio=1.25, low=1.2, high=1.3).answer == "slower"
    for answer in ("same", "inconclusive", "unreliable"):
        assert replace(FASTER, answer=answer, ratio=1.0, low=0.99, high=1.01, reason="aa_control").answer == answer
    assert replace(FASTER, implementation="eager", answer="baseline", ratio=1.0, low=1.0, high=1.0).ratio == 1.0
