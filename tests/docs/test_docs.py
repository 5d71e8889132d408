"""README.md and docs/ are true: links lead somewhere, and what they list is what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from attention_harness.commands.main import VERBS
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.verdict import Status
from attention_harness.options import capabilities

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def first_column(text: str) -> str:
    """Return the first cells of all table rows."""
    return "\n".join(re.findall(r"^\| (.*?) \|", text, re.M))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """A relative link names a file or folder of the checkout."""
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert [] == missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_are_there(page):
    """A path of the checkout in code names a file or folder; NAME stands for a reader's own."""
    paths = re.findall(r"`((?:harness|reference|implementations|tests|tools|docs)/[\w./]*)", page.read_text("utf-8"))
    assert [] == [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


def test_the_readme_is_short():
    """It is what a stranger needs in ten minutes."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_every_verb_is_listed():
    """The README's table has each verb, and names none that is gone."""
    listed = re.findall(r"^\| `([a-z]+)(?: [A-Z\[].*?)?` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(verb for verb in VERBS if " " not in verb) == sorted(listed)


def test_every_declaration_is_explained():
    """The page of capabilities has each field, and each option by the name that a file declares."""
    page = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    declared, _, options = page.partition("## Fields")[2].partition("## How options arrive")
    assert {one.name for one in fields(Capabilities)} == set(re.findall(r"`(\w+)`", first_column(declared)))
    assert set(capabilities()) == set(re.findall(r"`(\w+)`", first_column(options.partition("##")[0])))


def test_every_verdict_is_explained():
    """The page of verdicts has each status."""
    explained = set(re.findall(r"`(\w+)`", first_column((ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8"))))
    assert {str(status) for status in Status} <= explained
