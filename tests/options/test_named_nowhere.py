"""The machinery names no option, mechanism or dtype: it iterates over what is declared.

What is itself a declaration may name what it is about: a workload its mechanism, a check of dropout the option.
`LEFT` lists what a file still names beside that, by the owner of its room; it only shrinks.
"""

from __future__ import annotations

import ast
from pathlib import Path

import attention_harness
from attention_harness.options import OPTIONS, capabilities
from attention_harness.registry import mechanisms

ROOT = Path(attention_harness.__path__[0])
MACHINERY = ("registry", "cases", "bounds", "checks", "benchmark", "execution", "commands")
NAMES = {*OPTIONS, *capabilities(), *mechanisms()}
ABOUT = {
    "benchmark/self_check.py": {"scaled_dot_product"},  # the workload that is slowed down
    "cases/anchors.py": {"mask", "scaled_dot_product"},  # what the recordings are of
    "cases/distributions.py": {"bias"},  # what a content changes
    "cases/notes_sample.py": set(mechanisms()),  # how the notes' sample is put through each
    "cases/notice.py": set(mechanisms()),  # what a reader sees in the weights of each
    "checks/dropout.py": {"dropout"},
    "checks/dropout_backward.py": {"dropout"},
    "checks/behaviour/visibility.py": {"causal"},
    "checks/relations/mechanisms.py": {"scaled_dot_product", "self_attention"},  # what two others become
    "commands/compare.py": {"base"},  # a run, not the option
    "commands/new.py": {"scaled_dot_product"},  # what a file is made for if nobody says
}
"""Declarations, and what each is about."""

LEFT: dict[str, set[str]] = {}


def named() -> dict[str, set[str]]:
    """Return the names that stand as string literals in the machinery, by file."""
    found: dict[str, set[str]] = {}
    for room in MACHINERY:
        for path in sorted((ROOT / room).rglob("*.py")):
            literals = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            names = NAMES & {text for text in literals if isinstance(text, str)}
            if names:
                found[str(path.relative_to(ROOT))] = names
    return found


def test_what_is_named_is_listed_as_left():
    """Nothing beside the list is named, and nothing stands in it that is no longer named."""
    beside = {path: names - ABOUT.get(path, set()) for path, names in named().items()}
    assert LEFT == {path: names for path, names in beside.items() if names}
