"""A file that ends the process while it is imported ends no verb: it is a mistake in a line."""

from __future__ import annotations

import pytest

from tests.registry.sources import TINY


@pytest.mark.parametrize(
    "verb",
    [
        ("list",),
        ("check", "--case", TINY),
        ("replay", TINY, "--implementation", "leaves"),
        ("bench", "leaves"),
        ("choose", "cosine", "--shape", "1x2x3x4"),
        ("compare", "one", "two"),
    ],
    ids=lambda verb: verb[0],
)
def test_it_is_a_mistake(mistake, tmp_path, verb):
    """Status 2 and the file's name, where its own status 0 would have been taken for conformance."""
    path = tmp_path / "leaves.py"
    path.write_text("import os\nos._exit(0)\n")
    assert f"--load {path}: importing it: its process ended with exit status 0" == mistake(*verb, "--load", path)
