"""The numbers that README.md, docs/ and CHANGELOG.md state are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from attention_harness.checks import of_kind
from attention_harness.mutation.equivalent import VARIANTS
from attention_harness.mutation.mutants import MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", f"[{len(MUTANTS)} mutants]"),
        ("README.md", f"[{len(VARIANTS)} equivalent variants]"),
        ("docs/checks.md", f"There are {len(of_kind('relation'))} metamorphic relations."),
        ("docs/mutation.md", f"There are {len(MUTANTS)}."),
        ("docs/mutation.md", f"There are {len(VARIANTS)}."),
        ("CHANGELOG.md", f"- {len(MUTANTS)} mutants"),
        ("CHANGELOG.md", f"- {len(VARIANTS)} equivalent variants"),
    ],
)
def test_a_stated_number_is_right(file, text):
    """As many as there are."""
    assert text in (ROOT / file).read_text()
