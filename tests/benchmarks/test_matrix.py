"""The benchmark matrix with pytest-benchmark as its recorder: JSON, tables, histograms and `compare` are the plugin's.

The plugin times one function after the other; here the interleaved samples of a campaign are replayed to it through its
own `timer` option. Its tables then show the times, and `extra_info` the ratio that they do not allow to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from attention_harness.benchmark.recorder import extra_info
from attention_harness.model.measurement import Measurement


class ReplayClock:
    """A clock whose successive readings are 0 and the duration of the next sample."""

    __name__ = "replay_clock"

    def __init__(self) -> None:
        self._readings: Iterator[float] = iter(())

    def load(self, samples: Sequence[float], calls: int) -> None:
        """Replay samples, in seconds for one call, of so many calls each."""
        self._readings = iter([reading for sample in samples for reading in (0.0, sample * calls)])

    def __call__(self) -> float:
        return next(self._readings)


CLOCK = ReplayClock()


@pytest.mark.benchmark(timer=CLOCK, disable_gc=True, warmup=False)
def test_matrix(
    benchmark: BenchmarkFixture,
    measurement_of: Callable[[str, str], Measurement],
    cell: str,
    implementation: str,
) -> None:
    """What conforms has a time in the cell."""
    if not benchmark.enabled:  # by default, and by pytest-xdist
        pytest.skip("benchmarks are off: add --benchmark-enable, and no --numprocesses")
    row = measurement_of(cell, implementation)
    if row.status in ("refused", "unsupported", "unavailable"):
        pytest.skip(f"{row.status}: {row.reason}")
    assert row.status == "measured", row.reason
    samples = [seconds for one_pass in row.wall_s for seconds in one_pass]
    benchmark.group = cell
    benchmark.extra_info.update(extra_info(row))
    CLOCK.load(samples, row.calls_per_sample)
    benchmark.pedantic(lambda: None, rounds=len(samples), iterations=row.calls_per_sample)
