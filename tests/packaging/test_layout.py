"""The checkout: what stands where, and by which name it is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("harness", "reference", "implementations")
LINES = 400


def sources(*folders: str) -> Iterator[Path]:
    """Yield the Python files below some folders of the checkout."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_a_file_has_one_subject():
    """No file is longer than 400 lines."""
    lengths = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
        for path in sources(*FOLDERS, "tests", "tools")
    }
    assert len(lengths) > 200
    assert {} == {name: lines for name, lines in lengths.items() if lines > LINES}


def test_modules_stand_in_rooms():
    """At the root of the package are its public names and its entry point; all else has a room."""
    assert ["__init__.py", "__main__.py"] == sorted(path.name for path in (ROOT / "harness").glob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level names that a module imports, also inside programs that it holds as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"(?:^|[\n;] *)(?:from|import) (harness)\b", node.value)
            yield from re.findall(r"-m (harness)\b", node.value)


@pytest.mark.parametrize("text", ["import harness.model", "from harness import Case", "x = 'a=1;import harness'"])
def test_a_folder_name_is_noticed(text):
    """The reader of imports sees each of the ways in which a folder is imported by accident."""
    assert ["harness"] == list(imported(ast.parse(text)))


def test_no_folder_is_imported_by_its_name():
    """From the checkout's root a folder can be imported by accident, as a second copy of every class.

    A package named `reference` or `implementations` is a user's, so that only files of ours may not import it.
    """
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in sources(*FOLDERS, "tests", "tools")
        if path != Path(__file__)  # the examples above
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name in FOLDERS
    }
    assert set() == found


def test_tools_are_imported_by_nothing():
    """A tool measures the harness: the harness and its tests do without it."""
    assert set() == {path for path in sources(*FOLDERS) if "tools" in imported(ast.parse(path.read_text("utf-8")))}
