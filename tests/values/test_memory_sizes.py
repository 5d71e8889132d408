"""Sizes of memory, read and told."""

from __future__ import annotations

import pytest

from harness import memory_size


@pytest.mark.parametrize(("count", "text"), [(2 << 30, "2GiB"), (500_000_000, "500 MB"), (1536, "1.5kib"), (7, "7")])
def test_memory_in_words(count, text):
    """Binary and decimal units."""
    assert count == memory_size.parsed(text)


@pytest.mark.parametrize("text", ["lots", "2 GiBs", "-1", "", "9" * 30, "1" * 16 + "TiB"])
def test_memory_that_is_none(text):
    """What was expected is said."""
    with pytest.raises(ValueError, match="expected a number"):
        memory_size.parsed(text)


def test_told():
    """In the larger of two units."""
    assert ("512 MiB", "1.5 GiB") == (memory_size.told(512 << 20), memory_size.told(3 << 29))
