"""What a benchmark was to reach, and whether its measurements reach it: met, missed, open, or not measured and why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from attention_harness import registry
from attention_harness.benchmark.targets import Target, read_targets, results
from attention_harness.benchmark.workloads import Workload
from attention_harness.cases.ids import parse
from attention_harness.commands import bench
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.target_results import TargetResult

FAST = Path(__file__).parents[1] / "benchmarks" / "fast.toml"
SHORT, LONG = (f"dot_product-B1H1Hk1Lq{n}Lk{n}D8Dv8-float32-plain-ordinary-contiguous" for n in (64, 1024))
TARGET = Target(
    says="twice as fast", implementation="mine", workloads=("short",), quantity="time", over=("yours",), at_most=0.5
)


def row(name: str, seconds: float | tuple[float, ...], workload: str = "short", **more: Any) -> Measurement:
    """Return a measurement of three passes, in each of which every call takes so long."""
    passes = seconds if isinstance(seconds, tuple) else (seconds,) * 3
    case = LONG if workload == "long" else SHORT
    samples = tuple((one,) * 5 for one in passes)
    facts = {"cpu_s": samples if more.get("clock") == "cpu" else (), **more}
    return Measurement(name, "dot_product", workload, case, 1, "measured", calls_per_sample=1, wall_s=samples, **facts)


def target(**changed: Any) -> Target:
    """Return a target with a quantity of its own."""
    fields = {name: getattr(TARGET, name) for name in Target.__struct_fields__}
    return Target(**fields | {"over": (), "at_most": None} | changed)


@pytest.mark.parametrize(
    ("mine", "status"),
    [
        ((0.4, 0.41, 0.4), "met"),
        ((0.6, 0.61, 0.6), "missed"),
        ((0.4, 0.5, 0.6), "open"),
        ((0.499, 0.5, 0.501), "open"),
    ],
)
def test_a_time_is_met_where_its_whole_interval_lies_below_the_bound(mine: tuple[float, ...], status: str) -> None:
    """The interval is Student's over the passes."""
    [found] = results([TARGET], [row("mine", mine), row("yours", 1.0)])
    assert found.status == status
    assert found.value == pytest.approx(math.prod(mine) ** (1 / 3))
    assert found.low < found.value < found.high


def test_rounds_are_compared_and_not_medians() -> None:
    """In three of five rounds the ratio is 0.4, in which the machine was slow; the medians' ratio is 4."""
    mine = Measurement(**_fields(row("mine", 1.0)) | {"wall_s": ((4.0, 4.0, 4.0, 0.8, 0.8),) * 3})
    yours = Measurement(**_fields(row("yours", 1.0)) | {"wall_s": ((10.0, 10.0, 1.0, 2.0, 1.0),) * 3})
    [found] = results([TARGET], [mine, yours])
    assert (found.status, found.value) == ("met", pytest.approx(0.4))


def test_an_interval_is_wider_by_what_the_control_is_off() -> None:
    """A cell whose A/A control measured 1.3 says nothing of a bound 20 % away."""
    base = {"baseline": "yours", "ratio": 0.42, "low": 0.41, "high": 0.43, "level": 0.95, "clock": "wall"}
    mine = row("mine", 0.42, **base, answer="unreliable", reason="the control is off", control_ratio=1.3)
    [found] = results([TARGET], [mine, row("yours", 1.0)])
    assert found.status == "open"
    assert found.high == pytest.approx(0.42 * 1.3, rel=1e-6)


def test_a_ratio_to_another_workload_is_one_of_medians() -> None:
    """As causality over all pairs."""
    wanted = target(quantity="time", over_workload="long", at_most=0.65)
    [found] = results([wanted], [row("mine", 0.3), row("mine", 0.6, "long")])
    assert (found.status, found.value) == ("met", pytest.approx(0.5))


def test_cpu_time_counts_where_both_answers_rest_on_it() -> None:
    """On a busy machine the wall says nothing."""
    wanted = target(quantity="time", over_workload="long", at_most=0.65)
    cpu = {
        "baseline": "yours",
        "ratio": 0.5,
        "low": 0.4,
        "high": 0.6,
        "level": 0.95,
        "clock": "cpu",
        "answer": "faster",
    }
    rows = [
        Measurement(**_fields(row("mine", (9.0, 0.1, 5.0), name, **cpu)) | {"cpu_s": ((seconds,) * 5,) * 3})
        for name, seconds in (("short", 0.3), ("long", 0.6))
    ]
    [found] = results([wanted], rows)
    assert (found.status, found.value) == ("met", pytest.approx(0.5))


def test_a_ceiling_is_reached_from_below() -> None:
    """The share is that of the median pass; the interval that of the passes."""
    wanted = target(quantity="ceiling", at_least=0.6)
    for share, status in ((0.7, "met"), (0.5, "missed"), (0.605, "open"), (0.595, "open")):
        [found] = results([wanted], [row("mine", (1.0, 1.01, 1.0), ceiling="tanh", ceiling_share=share)])
        assert (found.status, found.value) == (status, pytest.approx(share, rel=0.01))
        assert found.low < found.value < found.high
    [found] = results([wanted], [row("mine", 1.0)])
    assert (found.status, found.reason) == ("not measured", "no ceiling was measured on short")


@pytest.mark.parametrize(
    ("peaks", "status"), [((2**24, 2**28), "met"), ((2**24, 2**32), "missed"), ((100, 200), "met")]
)
def test_memory_grows_by_its_fitted_exponent(peaks: tuple[int, int], status: str) -> None:
    """16 times the length: 16 times the memory is linear, 256 times is not. What cannot be resolved does not grow."""
    wanted = target(quantity="growth", workloads=("short", "long"), at_most=1.1)
    rows = [row("mine", 1.0, name, peak_bytes=peak) for name, peak in zip(("short", "long"), peaks, strict=True)]
    [found] = results([wanted], rows)
    assert found.status == status


def test_memory_counts_beyond_what_no_call_can_avoid() -> None:
    """Its output, which both have to return."""
    wanted = target(quantity="memory", over=("yours",), at_most=0.1)
    rows = [row(name, 1.0, peak_bytes=peak, least_bytes=2.0**24) for name, peak in (("mine", 2**24), ("yours", 2**28))]
    [found] = results([wanted], rows)
    assert (found.status, found.value) == ("met", pytest.approx(2**21 / (2**28 - 2**24)))


def test_what_was_not_measured_says_why() -> None:
    """It is neither met nor missed."""
    absent = Measurement("yours", "dot_product", "short", SHORT, 1, "unavailable", "not installed")
    [found] = results([TARGET], [row("mine", 0.4), absent])
    assert (found.status, found.reason) == ("not measured", "yours on short: unavailable: not installed")
    assert [] == list(results([TARGET], [row("mine", 0.4, "long")]))  # other workloads were chosen
    both = target(quantity="time", over=("yours",), workloads=("short", "long"), at_most=0.5)
    [found] = results([both], [row("mine", 0.4, "long"), row("yours", 1.0, "long")])
    assert (found.status, found.of) == ("met", "long, time over yours's")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"quantity": "time", "over": ("yours",)}, "either at_most or at_least"),
        ({"quantity": "time", "at_most": 1.0}, "one of over, over_workload and over_dtype"),
        ({"quantity": "ceiling", "over": ("yours",), "at_least": 1.0}, "is compared with nothing"),
        ({"quantity": "growth", "at_most": 1.0}, "two workloads"),
    ],
)
def test_a_target_that_means_nothing_is_refused(wrong: dict[str, Any], says: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match=says):
        target(**wrong)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("workload = 3", "is no file of targets"),
        ('workload = []\n[[target]]\nsays = "s"\nimplementation = "a"\nworkloads = ["b"]\nquantity = "time"\n'
         'over = ["c"]\nat_most = 1', "no workload 'b' in this file"),
        ('[[workload]]\nname = "b"\ncites = "c"\ncase = "d"\ndtypes = ["float32", "float64"]\n[[target]]\nsays = "s"\n'
         'implementation = "a"\nworkloads = ["b"]\nquantity = "ceiling"\nat_least = 1', "b is timed in several dtypes"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    """It names the file."""
    path = tmp_path / "targets.toml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=says):
        read_targets(path)
    with pytest.raises(HarnessError, match="is no file of targets"):
        read_targets(tmp_path / "none.toml")


def test_the_targets_of_fused_are_of_cases_that_it_takes() -> None:
    """Each workload is measured by a target, and what is left out of one says why."""
    wanted = read_targets(FAST)
    fused = registry.implementations()["fused"]
    used = {name for one in wanted.target for name in (*one.workloads, one.over_workload)}
    assert used - {""} == {one.name for one in wanted.workload}
    for workload in wanted.workload:
        assert workload.cites
        assert not any(fused.refuses(parse(case)) for case in (workload.case, workload.gated_on) if case)
        assert all(reason for _, reason in workload.leaves_out)


def test_lines_say_what_was_met() -> None:
    """With the counts first."""
    reached = [
        TargetResult("fast", "mine", "short, time over yours's", "at most 0.5", "met", 0.4, 0.39, 0.41),
        TargetResult("fast", "mine", "long, time over yours's", "at most 0.5", "not measured", reason="absent"),
    ]
    assert bench.target_lines(reached).splitlines() == [
        "targets: 1 met, 1 not measured",
        "mine: fast",
        "  met          short, time over yours's: 0.4 [0.39, 0.41], wanted at most 0.5",
        "  not measured long, time over yours's: absent, wanted at most 0.5",
    ]


def test_a_workload_leaves_out_with_a_reason() -> None:
    """What it leaves out is not timed there, and says why."""
    from attention_harness.benchmark.campaign import Campaign, measure

    workload = Workload("short", "made up", SHORT, leaves_out=(("eager", "no memory"),))
    chosen = tuple(registry.implementations()[name] for name in ("eager",))
    [left] = measure(Campaign(implementations=chosen, workloads=(workload,)), lambda *of: "", lambda *done: None)
    assert (left.status, left.reason) == ("unsupported", "left out of this workload: no memory")


def _fields(of: Measurement) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}
