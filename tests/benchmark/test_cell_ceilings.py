"""The ceiling of a cell is an arm of its rounds: what slows a call slows it too, and a share above 1 is our fault."""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from msgspec import structs

from attention_harness.benchmark import ceilings, operations, timing
from attention_harness.benchmark.ceilings import CEILING, CeilingArm, Look, Survey
from attention_harness.benchmark.costs import PRODUCT, SOFTMAX, TANH
from attention_harness.benchmark.operations import Operation
from attention_harness.benchmark.roofline import ABOVE, TOO_FAST, with_ceilings
from attention_harness.benchmark.timing import Sample
from attention_harness.cases.ids import parse
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Begun, Ceiling, Failed, Record
from tests.benchmark.made import sampled
from tests.benchmark.test_roofline import CASE, MACHINE, ROW
from tests.benchmark.test_timing import Named

FLOPS = 2 * 64 * 64 * 128
WHICH: dict[str, Any] = {"number": 0, "threads": 1}


def ceiling(number: int, wall: float | None, kind: str = PRODUCT, **other: Any) -> Ceiling:
    """Return the record of a cell's ceiling in a pass. Its CPU rate is its wall rate."""
    facts: dict[str, Any] = {"threads": 1, "when": "cell", "cell": CASE, "dtype": "float32", "cpu": wall} | other
    return Ceiling(number=number, kind=kind, wall=wall, **facts)


def passes(*ceiling_and_time: tuple[float, float]) -> tuple[Measurement, list[Record]]:
    """Return a measurement and the records of its passes: units a second of the ceiling, and seconds of the arm."""
    records: list[Record] = [*MACHINE]
    for number, (rate, seconds) in enumerate(ceiling_and_time):
        records.append(Begun(number=number, threads=1, cell=CASE, arm=""))
        records += [ceiling(number, rate), sampled(CASE, ROW.implementation, seconds, number=number)]
    times = tuple((seconds,) for _, seconds in ceiling_and_time)
    return structs.replace(ROW, wall_s=times, cpu_s=times), records


def share(row: Measurement, records: Sequence[Record]) -> float:
    """Return the share of its ceiling that a measurement reaches."""
    [row] = with_ceilings([row], records)
    assert row.ceiling_share is not None
    return row.ceiling_share


# --- the ceiling that counts


def test_the_ceiling_of_the_cell_counts_and_not_that_of_the_start() -> None:
    """At the start of the run the machine did 2e9 operations a second, in the cell's rounds 1e9."""
    row, records = passes((1e9, 1e-3))
    assert pytest.approx(FLOPS / 1e9 / 1e-3) == share(row, records)


def test_what_slows_the_cell_slows_its_ceiling() -> None:
    """Passes on a machine that is two and five times slower come to the same share."""
    row, records = passes((1e9, 1e-3), (1e9 / 2, 2e-3), (1e9 / 5, 5e-3))
    assert pytest.approx(FLOPS / 1e9 / 1e-3) == share(row, records)


def test_a_time_stands_against_the_ceiling_of_its_own_pass() -> None:
    """Of a pass that lost the arm there is a ceiling and no time."""
    row, records = passes((1e9, 1e-3), (1e12, 1.0), (1e9 / 4, 4e-3))
    records.append(Failed(number=1, threads=1, cell=CASE, arm=ROW.implementation, reason="another clock"))
    left = structs.replace(row, wall_s=(row.wall_s[0], row.wall_s[2]), cpu_s=())
    assert pytest.approx(FLOPS / 1e9 / 1e-3) == share(left, records)


def test_what_an_interrupted_process_left_does_not_count() -> None:
    """The cell was begun again: other operations may bind it now."""
    row, records = passes((1e9, 1e-3))
    began = Begun(number=0, threads=1, cell=CASE, arm="")
    assert pytest.approx(FLOPS / 1e9 / 1e-3) == share(row, [began, ceiling(0, 1.0, SOFTMAX), *records])


def test_the_kind_that_takes_longest_binds() -> None:
    """Two kinds are near each other at the start of the pass; in the rounds the softmax took longer."""
    row, records = passes((1e12, 1e-3))
    [row] = with_ceilings([row], [*records, ceiling(0, 64 * 64 / 1e-4, SOFTMAX)])
    assert (SOFTMAX, pytest.approx(0.1)) == (row.ceiling, row.ceiling_share)


def test_the_share_rests_on_the_clock_of_the_answer() -> None:
    """Wall rates would double it."""
    row, _ = passes((1e9, 1e-3))
    compared: Any = {"baseline": "eager", "ratio": 1.5, "low": 1.4, "high": 1.6, "level": 0.95, "answer": "slower"}
    row = structs.replace(row, clock="cpu", **compared)
    records = [ceiling(0, 5e8, cpu=1e9), sampled(CASE, ROW.implementation, 1e-3)]
    assert pytest.approx(FLOPS / 1e9 / 1e-3) == share(row, records)


def test_a_cell_without_a_ceiling_says_why() -> None:
    """It is measured; no ceiling of another time stands in."""
    row, records = passes((1e9, 1e-3))
    records = [record for record in records if not (isinstance(record, Ceiling) and record.cell)]
    [row] = with_ceilings([row], [*records, ceiling(0, None, "", reason="no such product")])
    assert ("measured", None, "no ceiling: no such product") == (row.status, row.ceiling_share, row.reason)


# --- above it


@pytest.mark.parametrize(("times", "answer"), [(1.2, "faster"), (2.0, "unreliable")])
def test_above_the_ceiling_the_model_is_at_fault(times: float, answer: str) -> None:
    """It is said and not clipped; half as fast again is not believed at all."""
    row, records = passes(*[(1e9, FLOPS / 1e9 / times)] * 3)
    compared: Any = {"baseline": "eager", "ratio": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "answer": "faster"}
    [row] = with_ceilings([structs.replace(row, clock="wall", **compared)], records)
    assert (answer, pytest.approx(times)) == (row.answer, row.ceiling_share)
    assert (ABOVE if answer == "faster" else TOO_FAST) in row.reason
    assert "stale" not in row.reason


def test_where_passes_differ_much_less_is_withheld() -> None:
    """Shares of 1, 2 and 3: the ceiling may be too low by three."""
    row, records = passes(*[(1e9, FLOPS / 1e9 / times) for times in (1.0, 2.0, 3.0)])
    compared: Any = {"baseline": "eager", "ratio": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "answer": "faster"}
    [row] = with_ceilings([structs.replace(row, clock="wall", **compared)], records)
    assert ("faster", pytest.approx(2.0)) == (row.answer, row.ceiling_share)


def test_a_call_at_the_ceiling_does_not_pass_it_by_noise() -> None:
    """The call is the operation itself, on a machine that takes up to a third longer and now and then three times."""
    draw, above = random.Random(0), 0

    def times(count: int) -> list[float]:
        return [1e-3 * (1 + draw.random() / 3) * (3 if draw.random() < 0.2 else 1) for _ in range(count)]

    for _ in range(100):
        row, records = passes(*[(1.0, 1.0)] * 3)
        measured = tuple(tuple(times(16)) for _ in range(3))
        arm = [CeilingArm([look(lambda: None, units=FLOPS)]) for _ in range(3)]
        for one in arm:
            one.turns[0].samples += [Sample(time, time, 0.0) for time in times(16)]
        found = [r for n, one in enumerate(arm) for r in one.records({"number": n, "threads": 1}, CASE)]
        records = [record for record in records if not isinstance(record, Ceiling)]
        above += share(structs.replace(row, wall_s=measured, cpu_s=()), [*records, *found]) > 1
    assert above == 0  # half of them, if a median stood against a median


# --- the arm


def look(call: Callable[[], Any], kind: str = PRODUCT, name: str = "one", units: float = 1.0) -> Look:
    """Return an operation that a survey would have found."""
    return Look(Operation(kind, "float32", name, lambda size: (units, call)), 1, 1.0)


def test_operations_take_turns_in_the_rounds_of_the_cell() -> None:
    """Two operations have half of the rounds each, and the other arm has all. A call precedes each sample."""
    calls: list[str] = []
    arm = CeilingArm([look(lambda: calls.append("a"), name="a"), look(lambda: calls.append("b"), SOFTMAX, "b")])
    for turn in arm.turns:
        turn.calls = 1
    calls.clear()
    other = Named("kernel", calls)
    arms: dict[str, timing.Timed] = {"kernel": other, CEILING: arm}
    found = timing.rounds(arms, time_per_arm=0.0, rng=random.Random(0), least=20)
    assert (20, 20) == (len(found["kernel"]), len(found[CEILING]))
    rounds = [calls[3 * place : 3 * place + 3] for place in range(20)]
    assert all(sorted(["kernel", *2 * "ab"[place % 2]]) == sorted(one) for place, one in enumerate(rounds))
    assert (10, 10) == tuple(len(turn.samples) for turn in arm.turns)
    assert 2 == arm.warmed.calls  # both count as time of the arm
    assert {PRODUCT, SOFTMAX} == {record.kind for record in arm.records(WHICH, CASE)}


@pytest.mark.parametrize("after", [0, 2, 30])
def test_an_operation_that_raises_costs_the_cell_nothing(after: int) -> None:
    """When it is made, while it becomes warm or amid the rounds: the others have all of their samples."""
    left = iter(range(after))

    def call() -> None:
        if next(left, None) is None:
            raise RuntimeError("no primitive")

    arm = CeilingArm([look(call, name="product")])
    arms: dict[str, timing.Timed] = {"kernel": Named("kernel", []), CEILING: arm}
    found = timing.rounds(arms, time_per_arm=0.0, rng=random.Random(0), least=20)
    [record] = arm.records(WHICH, CASE)
    assert 20 == len(found["kernel"])
    assert (None, None, "product: RuntimeError: no primitive") == (record.wall, record.cpu, record.reason)


def test_the_ceiling_is_that_of_the_fastest_operation_of_its_kind() -> None:
    """By its 95th percentile; CPU time says nothing of several threads."""
    arm = CeilingArm([look(lambda: None, name=name) for name in ("slow", "fast")])
    for turn, seconds in zip(arm.turns, (2.0, 1.0), strict=True):
        turn.samples += [Sample(seconds * (1 + place / 100), seconds, 0.0) for place in range(100)]
    [record] = arm.records(WHICH, CASE)
    [threaded] = arm.records(WHICH | {"threads": 2}, CASE)
    assert ("fast", pytest.approx(1 / 1.04), 1.0) == (record.operation, record.wall, record.cpu)
    assert threaded.cpu is None


# --- what binds


def test_a_dtype_without_an_operation_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell gets no ceiling rather than that of another dtype."""

    def make(size: int) -> Any:
        raise RuntimeError("not implemented for 'Half'")

    monkeypatch.setattr(ceilings, "operations", lambda kind, case, caches: [Operation(kind, case.dtype, "mm", make)])
    reason = Survey(1).binding(CASE, "forward")
    assert "matrix product in float32: RuntimeError: not implemented for 'Half'" == reason
    arm = CeilingArm(reason)
    assert Sample(0.0, 0.0, 0.0) == arm.sample()
    assert [reason] == [record.reason for record in arm.records(WHICH, CASE)]


@pytest.mark.parametrize("onednn", [{}, {"_linear_pointwise": None}])
def test_products_are_torchs_and_onednns(monkeypatch: pytest.MonkeyPatch, onednn: dict[str, Any]) -> None:
    """The operator of oneDNN is private to torch: where it is missing the others are left."""
    monkeypatch.setattr(torch.ops, "mkldnn", types.SimpleNamespace(**onednn))
    names = {one.name for one in operations.operations(PRODUCT, parse(CASE), {})}
    assert {"bmm 64 x 64 x 64 in float32", "mm square in float32"} < names
    assert bool(onednn) is any(name.startswith("oneDNN") for name in names)


def test_the_tanh_of_a_sum_may_be_a_quotient() -> None:
    """Of exponentials of either alone: one reciprocal, which is many times faster than a tanh."""
    names = [one.name for one in operations.operations(TANH, parse(CASE), {})]
    assert names == ["tanh in float32", "reciprocal in float32"]
    for one in operations.operations(TANH, parse(CASE), {}):
        units, call = one.make(1)
        call()
        assert units == 256 * 256
        assert one.make(4)[0] == 4 * units


def test_narrow_dtypes_may_be_computed_in_float32() -> None:
    """Where float16 has no arithmetic, who converts is 30 times faster. Of wide ones there is no other way."""

    def dtypes(dtype: str) -> set[str]:
        case = parse(CASE.replace("float32", dtype))
        return {one.name.split()[-1] for kind in (PRODUCT, TANH) for one in operations.operations(kind, case, {})}

    assert [{"float16", "float32"}, {"float64"}] == [dtypes("float16"), dtypes("float64")]


@pytest.mark.parametrize(
    ("product", "binding"),
    [(1.0, [PRODUCT]), (200.0, [PRODUCT, SOFTMAX]), (300.0, [SOFTMAX, PRODUCT]), (1e6, [SOFTMAX])],
)
def test_what_a_first_look_does_not_tell_apart_takes_turns(
    monkeypatch: pytest.MonkeyPatch, product: float, binding: list[str]
) -> None:
    """256 operations stand beside each element of the softmax: near 256 times its rate either may bind."""
    survey = Survey(1)
    rates = {PRODUCT: product, SOFTMAX: 1.0}
    monkeypatch.setattr(survey, "_first", lambda one: Look(one, 1, rates.get(one.kind, 1e12)))
    found = survey.binding(CASE, "forward")
    assert not isinstance(found, str)
    assert binding == list(dict.fromkeys(one.operation.kind for one in found))
    assert len(found) <= ceilings.MOST


def test_real_operations_have_rates_on_both_clocks() -> None:
    """Of this machine, in float32: products, and a copy in memory."""
    looks = Survey(1).binding(CASE, "forward")
    assert not isinstance(looks, str)
    arm = CeilingArm(looks)
    for _ in range(2 * len(looks)):
        arm.sample()
    found = list(arm.records(WHICH, CASE))
    assert found
    assert all(one.wall and one.cpu and one.operation and not one.reason for one in found)
    units, copy = operations._copy("DRAM", {"LLC": 4 << 20})(1)
    copy()
    assert units == 2 * operations._PIECE
