"""Sizes of memory, read and told."""

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


def test_told():
    """In the larger of two units."""
    assert ("512 MiB", "1.5 GiB") == (units.told(512 << 20), units.told(3 << 29))
