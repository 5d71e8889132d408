"""The numbers that README.md and CHANGELOG.md state are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from attention_harness.checks.relations import LAWS
from attention_harness.mutation.mutants import FAULTS, VARIANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", f"[{len(FAULTS)} planted faults]"),
        ("README.md", f"[{len(VARIANTS)} correct attentions]"),
        ("README.md", f"| {len(LAWS)} laws without an oracle"),
        ("CHANGELOG.md", f"- {len(FAULTS)} planted faults"),
        ("CHANGELOG.md", f"- {len(VARIANTS)} correct variants"),
    ],
)
def test_a_stated_number_is_right(file, text):
    """As many as there are."""
    assert text in (ROOT / file).read_text()
