"""The numbers that README.md, docs/ and CHANGELOG.md state are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from attention_harness.checks import of_kind
from attention_harness.mutation.catalogue import mutants, variants

ROOT = Path(__file__).parents[2]


def test_the_number_of_relations_is_right():
    """As many as there are."""
    assert f"There are {len(of_kind('relation'))} metamorphic relations." in (ROOT / "docs/checks.md").read_text()


@pytest.mark.parametrize("file", ["README.md", "docs/mutation.md", "CHANGELOG.md"])
def test_there_are_as_many_mutants_and_variants_as_is_said(file):
    """The pages name round numbers, so that a new mutant edits none of them."""
    text = (ROOT / file).read_text().lower()
    assert "more than 800" in text
    assert "more than 100" in text
    assert len(mutants()) > 800
    assert len(variants()) > 100
