"""Sizes, durations and error ratios as people write them."""

from __future__ import annotations

import pytest

from attention_harness.model import units


@pytest.mark.parametrize(("count", "text"), [(2 << 30, "2GiB"), (500_000_000, "500 MB"), (1536, "1.5kib"), (7, "7")])
def test_memory_in_words(count, text):
    """Binary and decimal units."""
    assert count == units.parsed(text)


@pytest.mark.parametrize("text", ["lots", "2 GiBs", "-1", "", "9" * 30, "1" * 16 + "TiB"])
def test_memory_that_is_none(text):
    """What was expected is said."""
    with pytest.raises(ValueError, match="expected a number"):
        units.parsed(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (512 << 20, "512 MiB"), (3 << 29, "1.5 GiB"), (1020 << 20, "1020 MiB")],
)
def test_sizes(count, text):
    """In the unit that suits them."""
    assert text == units.size(count)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 ns"), (3e-6, "3 µs"), (0.0123, "12.3 ms"), (119, "119 s"), (150, "2.5 min")]
)
def test_durations(seconds, text):
    """Two minutes and more in minutes."""
    assert text == units.duration(seconds)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (0.001, "<0.01"), (1, "1.00"), (1.0001, "1.01"), (2.5, "2.50"), (1e6, "1.0e+06")],
)
def test_error_ratios(value, text):
    """What does not pass never reads as 1."""
    assert text == units.error_ratio(value)
    assert ("infinite", "not a number") == (units.error_ratio(float("inf")), units.error_ratio(float("nan")))
