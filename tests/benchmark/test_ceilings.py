"""Which ceiling binds, how near a time comes to it, and how time grows with length."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from attention_harness.benchmark import ceilings, columns
from attention_harness.benchmark.ceilings import Ceilings
from attention_harness.benchmark.costs import Cost
from attention_harness.benchmark.pass_log import Kept
from attention_harness.benchmark.scaling import growth
from attention_harness.model.measurement import Measurement

CASE = "scaled_dot_product-B1H1Hk1Lq64Lk64D64Dv64-float32-plain-ordinary-contiguous"
ROW = Measurement(
    "kernel", "scaled_dot_product", "w", CASE, 1, "measured", calls_per_sample=1, wall_s=((1e-3,),), cpu_s=((5e-4,),)
)


def record(kind: str, wall: float, cpu: float | None = None, dtype: str = "float32", **more: Any) -> dict[str, Any]:
    """Return what a pass writes of a ceiling."""
    return {"event": "ceiling", "kind": kind, "dtype": dtype, "threads": 1, "wall": wall, "cpu": cpu or wall, **more}


MACHINE = [
    record("matrix product", 1e9),
    record("matrix product", 2e9, 4e9),
    record("softmax", 1e9),
    record("tanh", 1e9),
    record("copy in L2", 1e12, dtype="bytes", caches={"L2": 1 << 20, "LLC": 1 << 25}),
    record("copy in LLC", 1e11, dtype="bytes"),
    record("copy in DRAM", 1e10, dtype="bytes"),
]


@pytest.mark.parametrize(
    ("most", "kind", "seconds"),
    [
        ({"pairs": 1e9}, "matrix product", 0.5),
        ({"softmax": 1e9}, "softmax", 1.0),
        ({"tanh": 2e9}, "tanh", 2.0),
        ({"moved": 1e12}, "copy in L2", 1.0),
        ({"moved": 1e12, "footprint": 1e6}, "copy in LLC", 10.0),
        ({"moved": 1e12, "footprint": 1e9}, "copy in DRAM", 100.0),
    ],
)
def test_the_ceiling_that_takes_longest_binds(most: dict[str, float], kind: str, seconds: float) -> None:
    """Each at its best rate; copies at the level that holds the problem twice."""
    counted = replace(Cost(1, 1, 1, 1, 1, 1, 1, 1), **most)
    found = Ceilings(MACHINE).binding(counted, "float32", 1, "wall")

    assert (kind, pytest.approx(seconds, rel=1e-6)) == found


def test_a_dtype_or_thread_count_that_was_not_measured_has_no_ceiling() -> None:
    """One peak for all would be 30 times off for float16 on a CPU."""
    counted = Cost(1, 1, 1, 1, 1, 1, 1, 1)

    assert Ceilings(MACHINE).binding(counted, "float16", 1, "wall") is None
    assert Ceilings(MACHINE).binding(counted, "float32", 2, "wall") is None


def test_a_share_rests_on_the_clock_of_the_time() -> None:
    """The product's CPU rate is twice its wall rate, and the CPU time half the wall time: the same share."""
    kept = Kept()
    kept.records = MACHINE
    [wall] = columns.filled([ROW], kept)
    shares = {"baseline": "eager", "ratio": 1.5, "low": 1.4, "high": 1.6, "level": 0.95, "answer": "slower"}
    [cpu] = columns.filled([structs.replace(ROW, clock="cpu", **shares)], kept)

    assert ("matrix product", 2 * 64 * 64 * 128) == (wall.ceiling, wall.flops)
    assert pytest.approx(2 * 64 * 64 * 128 / 2e9 / 1e-3) == wall.ceiling_share == cpu.ceiling_share
    assert wall.reason == ""


def test_more_than_everything_is_warned_of_and_not_clipped() -> None:
    """Then the ceiling was measured while others held the machine."""
    kept = Kept()
    kept.records = MACHINE
    [row] = columns.filled([structs.replace(ROW, wall_s=((1e-5,),))], kept)

    assert row.ceiling_share is not None
    assert row.ceiling_share > 1
    assert "stale or contended" in row.reason


def test_ceilings_are_measured_for_each_dtype() -> None:
    """Every kind has a positive rate on this machine, on both clocks of one thread."""
    found = list(ceilings.measure(("float32",), 1))

    assert {"matrix product", "softmax", "tanh", "copy in DRAM"} <= {one["kind"] for one in found}
    assert all(one["wall"] > 0 and one["cpu"] > 0 for one in found)


def test_cache_sizes_come_from_the_kernel(tmp_path: Path) -> None:
    """Of data and unified caches; the last is the LLC. Nothing where the kernel does not tell."""
    for number, (level, kind, size) in enumerate([(1, "Data", "48K"), (2, "Unified", "1024K"), (3, "Unified", "32M")]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")

    assert {"L2": 1 << 20, "LLC": 32 << 20} == ceilings.cache_sizes(tmp_path)
    assert {} == ceilings.cache_sizes(tmp_path / "nowhere")


def test_an_exponent_is_found_again() -> None:
    """Of exact powers the interval is a point; what deviates widens it; short lengths do not count."""
    lengths = (128, 256, 512, 1024, 2048)
    exact = growth({n: 3e-9 * n**2 for n in lengths})
    rough = growth({n: 3e-9 * n**2 * (1.1 if n == 1024 else 1) for n in lengths})
    overhead = growth({n: 1e-2 * (n == 128) + 3e-9 * n**2 for n in lengths})

    assert exact is not None
    assert (pytest.approx(2), pytest.approx(2), pytest.approx(2)) == (exact.exponent, exact.low, exact.high)
    assert (256, 512, 1024, 2048) == exact.lengths
    assert rough is not None
    assert rough.low is not None
    assert rough.high is not None
    assert rough.low < 2 < rough.high
    assert rough.high - rough.low > 0.1
    assert overhead is not None
    assert pytest.approx(2) == overhead.exponent
    assert overhead.local[0] < 0 < overhead.local[-1]


def test_an_interval_by_hand() -> None:
    """y = 0, 1, 2.3 at log2 L = 0, 1, 2: slope 1.15, squared residuals 0.015, one degree of freedom."""
    found = growth({2**i: 2**y for i, y in enumerate((0.0, 1.0, 2.3))})
    half = math.tan(math.pi * 0.95 / 2) * math.sqrt(0.015 / 2)

    assert found is not None
    assert pytest.approx((1.15, 1.15 - half, 1.15 + half)) == (found.exponent, found.low, found.high)
    assert growth({2: 1.0}) is None
    assert growth({2: 1.0, 4: 2.0}).low is None  # type: ignore[union-attr]
