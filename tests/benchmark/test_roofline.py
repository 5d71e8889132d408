"""Which ceiling binds and how near a time comes to it, where ceilings were read at the start and the end of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from attention_harness.benchmark import operations
from attention_harness.benchmark.costs import Cost
from attention_harness.benchmark.roofline import Ceilings, with_ceilings
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Ceiling

CASE = "scaled_dot_product-B1H1Hk1Lq64Lk64D64Dv64-float32-plain-ordinary-contiguous"
ROW = Measurement(
    "kernel", "scaled_dot_product", "w", CASE, 1, "measured", calls_per_sample=1, wall_s=((1e-3,),), cpu_s=((5e-4,),)
)


def record(kind: str, wall: float, cpu: float | None = None, dtype: str = "float32", **more: Any) -> Ceiling:
    """Return what a pass writes of a ceiling."""
    which: dict[str, Any] = {"number": 0, "threads": 1, "when": "start"}
    return Ceiling(**which, kind=kind, dtype=dtype, wall=wall, cpu=cpu or wall, **more)


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
    [wall] = with_ceilings([ROW], MACHINE)
    shares = {"baseline": "eager", "ratio": 1.5, "low": 1.4, "high": 1.6, "level": 0.95, "answer": "slower"}
    [cpu] = with_ceilings([structs.replace(ROW, clock="cpu", **shares)], MACHINE)

    assert ("matrix product", 2 * 64 * 64 * 128) == (wall.ceiling, wall.flops)
    assert pytest.approx(2 * 64 * 64 * 128 / 2e9 / 1e-3) == wall.ceiling_share == cpu.ceiling_share
    assert wall.reason == ""


def test_more_than_everything_is_said_and_not_clipped() -> None:
    """Also in a run whose ceilings were measured at its start and its end."""
    [row] = with_ceilings([structs.replace(ROW, wall_s=((1e-5,),))], MACHINE)

    assert row.ceiling_share is not None
    assert row.ceiling_share > 1
    assert "fault of the harness's model" in row.reason


def test_cache_sizes_come_from_the_kernel(tmp_path: Path) -> None:
    """Of data and unified caches; the last is the LLC. Nothing where the kernel does not tell."""
    for number, (level, kind, size) in enumerate([(1, "Data", "48K"), (2, "Unified", "1024K"), (3, "Unified", "32M")]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")

    assert {"L2": 1 << 20, "LLC": 32 << 20} == operations.cache_sizes(tmp_path)
    assert {} == operations.cache_sizes(tmp_path / "nowhere")
