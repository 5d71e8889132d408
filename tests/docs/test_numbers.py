"""The numbers that README.md, docs/ and CHANGELOG.md state are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from attention_harness.checks import of_kind
from attention_harness.mutation.catalogue import mutants, variants

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", f"[{len(mutants())} mutants]"),
        ("README.md", f"[{len(variants())} equivalent variants]"),
        ("docs/checks.md", f"There are {len(of_kind('relation'))} metamorphic relations."),
        ("docs/mutation.md", f"There are {len(mutants())}."),
        ("docs/mutation.md", f"There are {len(variants())}."),
        ("CHANGELOG.md", f"- {len(mutants())} mutants"),
        ("CHANGELOG.md", f"- {len(variants())} equivalent variants"),
    ],
)
def test_a_stated_number_is_right(file, text):
    """As many as there are."""
    assert text in (ROOT / file).read_text()
